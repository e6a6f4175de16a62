"""The commands of `acme-server mpic` and `perspective-key`; what they do is in operations/mpic_pki.py.

Must never: print a private key, or take a passphrase from the command line or the environment.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization

from core.clock import SystemClock
from core.errors import ConfigurationError
from core.randomness import SystemRandomness
from operations.commands.command import command, group, say
from operations.commands.options import Config, Given, PassphraseFile, Set
from operations.passphrases import passphrase_of

ROOT_KEY = "the root's key"

application = group("mpic", "The private PKI of the channel to perspectives on other hosts.")

Name = Annotated[str, typer.Argument(help='A perspective\'s code, or "coordinator" for the CA itself.')]
RootDirectory = Annotated[
    Path, typer.Option("--root", file_okay=False, help="Where the root lies, and its encrypted key.")
]


@command(application)
def root(
    directory: RootDirectory,
    config: Config = None,
    set_: Set = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the root of the channel.

    It signs for names below mpic.zone alone.  Keep its directory on neither end.
    """
    from operations import mpic_pki

    zone = _zone(Given(config, overrides=set_))
    passphrase = passphrase_of(passphrase_file, ROOT_KEY, new=True)
    made = mpic_pki.make_root(directory, zone, passphrase, SystemClock(), SystemRandomness())
    say(f"{made}: the root of {zone}; its key lies beside it, encrypted")


@command(application)
def request(given: Given, name: Name) -> None:
    """Make a key of the channel and print the request for its certificate.

    On the host where the key stays; the certificate in use stays in use until `install`.
    """
    from operations import mpic_pki

    pem = mpic_pki.request(_identity(given, name), name, _zone(given), SystemRandomness())
    say(pem.decode().rstrip())


@command(application)
def certificate(
    name: Name,
    request: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `request` printed.")],
    directory: RootDirectory,
    days: Annotated[int, typer.Option(help="30 at most.")] = 30,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a request by the root and print the certificate, with the root after it.

    See that the request is really from that host: what is signed here is believed.
    """
    from operations import mpic_pki

    pem = mpic_pki.certify(
        directory,
        name,
        request.read_bytes(),
        passphrase_of(passphrase_file, ROOT_KEY),
        SystemClock(),
        SystemRandomness(),
        days,
    )
    say(pem.decode().rstrip())


@command(application)
def install(
    given: Given,
    name: Name,
    certificate: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="What `certificate` printed.")
    ],
) -> None:
    """Use a certificate from now on, with the key that waits for it.

    A process that runs takes it within a minute, without a restart.
    """
    from operations import mpic_pki

    ends = mpic_pki.install(_identity(given, name), certificate.read_bytes())
    say(f"the channel's certificate of {name} is in place until {ends:%Y-%m-%d}: renew it ten days before")


def perspective_key(given: Given, code: str) -> None:
    """Print the public key of a perspective; make the key where there is none.

    On the perspective's own host.  The ceremony's step pin-perspectives takes it.
    """
    from validation import keys, perspective

    settings, directory = given.settings(), given.directory().perspective(code)
    if code not in {place.code for place in settings.validation.perspectives}:
        raise ConfigurationError(f"validation.perspectives has no {code!r}: name one that is there")
    passphrase_file = perspective.passphrase_file(settings)
    if not (directory / keys.KEY_FILE).exists():
        keys.generate_key(directory, SystemRandomness(), passphrase_file)
        print(f"made {directory / keys.KEY_FILE}", file=sys.stderr)
    public = keys.load_private_key(directory, passphrase_file).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    say(pem.decode().rstrip())


def _zone(given: Given) -> str:
    zone = given.settings().mpic.zone
    if not zone:
        raise ConfigurationError("mpic.zone is empty: name the zone of the channel, alike on all hosts")
    return zone


def _identity(given: Given, name: str) -> Path:
    from validation.mpic.mutual_tls import COORDINATOR

    if name == COORDINATOR:
        return given.directory().mpic
    if name not in {place.code for place in given.settings().validation.perspectives}:
        raise ConfigurationError(f"validation.perspectives has no {name!r}: name one that is there")
    return given.directory().channel(name)
