"""Ceremonies from the command line: who is there, on which data directory, for real or for nothing.

Must never: let a ceremony and a running vault write to the same file; ask for a passphrase that anybody else
can see.

CPS 5.2, 6.1.1, 6.2.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.people import Identity
from core.randomness import Randomness
from core.settings import Settings
from operations import isolation
from operations.ceremony import perspective_keys
from operations.passphrases import passphrase_of
from operations.supervisor import Say, alone, check_prerequisites
from signer.vault import hardening
from signer.vault.ceremony import abandon as abandoning
from signer.vault.ceremony import engine, past, rehearsal, words
from signer.vault.ceremony.engine import Held, Place
from signer.vault.ceremony.kinds import AT_REST
from signer.vault.ceremony.script import Script, load
from signer.vault.ceremony.seal_steps import PinPerspectives
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed.seal import Hierarchy


def hold(
    settings: Settings,
    data: DataDirectory,
    path: Path,
    identities: Sequence[Identity],
    clock: Clock,
    randomness: Randomness,
    say: Say,
) -> Held:
    """Hold the ceremony of the script at `path`.  Raises `CaError` with the remedy."""
    hardening.harden(settings)
    os.umask(0o077)
    script = load(path)
    check_prerequisites(settings, data)
    _must_be_possible(Place(data, settings, clock, randomness, path.parent, {}), script, identities)
    for directory in (data.root, data.run):
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    walls = isolation.decide(settings, data)
    rests = _needs_rest(data, script)

    def announce(words: str) -> None:
        # Held as root: what the step before made must be its owner's before the vault starts on it.
        isolation.give_back(walls, data)
        say(words)

    with _at_rest(data) if rests else _one_at_a_time(data):
        try:
            if rests:
                isolation.arrange(walls, data)
            place = Place(
                data,
                settings,
                clock,
                randomness,
                path.parent,
                _perspectives(settings, data, randomness, script, say),
                announce,
            )
            return asyncio.run(engine.hold(place, script, identities))
        finally:
            isolation.give_back(walls, data)


def abandon(
    settings: Settings,
    data: DataDirectory,
    identities: Sequence[Identity],
    reason: str,
    clock: Clock,
    randomness: Randomness,
) -> Path:
    """Give the interrupted ceremony up; its transcript.  Raises `CaError` with the remedy."""
    hardening.harden(settings)
    os.umask(0o077)
    with alone(data):
        _must_not_run(data)
        place = Place(data, settings, clock, randomness, data.root, {})
        try:
            return abandoning.abandon(place, identities, reason)
        finally:
            isolation.give_back(isolation.decide(settings, data), data)


def rehearse(
    settings: Settings, data: DataDirectory, path: Path, clock: Clock, randomness: Randomness, say: Say
) -> None:
    """The same for nothing; ends with the text of every certificate.  Raises `CaError`."""
    base = sealed(settings, data)
    done = asyncio.run(
        rehearsal.rehearse(load(path), path.parent, settings, clock, randomness, base, say)
    ).hierarchy
    for id, certificate in [("root", done.root), *((each.id, each.certificate) for each in done.issuers)]:
        say("")
        say(f"{id}, with a throwaway key:")
        for line in words.certificate(certificate):
            say(f"  {line}")
    say("")
    say("A dry run: nothing of this was kept.")


def sealed(settings: Settings, data: DataDirectory) -> Hierarchy | None:
    """The hierarchy in force, if there is one."""
    return hierarchies.load(data, settings) if hierarchies.exists(data) else None


def first_screen(settings: Settings, data: DataDirectory) -> list[str]:
    """What a ceremony is, who is needed, and what comes next here."""
    lines = [
        "A ceremony makes or changes the CA's keys and certificates: several people carry out a script, step",
        "by step, and sign the transcript.  The private keys are born in tokens that nobody opens alone.",
        "",
        f"In {data.root}:",
    ]
    base = sealed(settings, data)
    if past.interrupted(data):
        lines.append(f"  a ceremony was interrupted ({past.transcripts(data)[-1]}).")
        lines.append("Next: `acme-server ceremony run` the same script again; it goes on where it was.")
        return [*lines, "Or give it up for good: `acme-server ceremony abandon`."]
    if base is None:
        return [
            *(*lines, "  no hierarchy yet.", ""),
            "Next:",
            "  1. acme-server ceremony identity NAME    each person, on a machine of their own",
            "  2. acme-server ceremony example > first.toml    and change it to what you want",
            "  3. acme-server ceremony show first.toml         read it together",
            "  4. acme-server ceremony run first.toml --dry-run",
            "  5. acme-server ceremony run first.toml --identity ... --identity ...",
            "  6. acme-server ceremony verify TRANSCRIPT       anybody, anywhere",
            "To try things out without people: `acme-server run` makes a hierarchy itself (not conforming).",
        ]
    lines += [f"  hierarchy {base.sequence}, sealed in ceremony {base.ceremony}, {base.rules} rules"]
    for token in base.tokens:
        if token.activation is None:
            lines.append(f"  token {token.label!r}: its PIN lies in a file (does not conform to BR 6.2.8)")
        else:
            holders = ", ".join(person.name for person in token.activation.holders)
            lines.append(f"  token {token.label!r}: any {token.activation.threshold} of {holders}")
    lines += [f"  issuer {each.id}: {each.state}" for each in base.issuers]
    return [*lines, "Next: write a script for what is to change (`ceremony example` shows the form)."]


def identities(paths: Sequence[Path], passphrases: Sequence[Path]) -> list[Identity]:
    """The people present.  Passphrases are asked at the terminal, or read from a file for each identity."""
    if passphrases and len(passphrases) != len(paths):
        raise ConfigurationError(
            f"{len(paths)} --identity and {len(passphrases)} --passphrase-file: give one for each, in order, "
            "or none, and each is asked"
        )
    found = []
    for number, path in enumerate(paths):
        file = passphrases[number] if passphrases else None
        found.append(Identity.load(path, passphrase_of(file, str(path))))
    return found


def _must_be_possible(place: Place, script: Script, identities: Sequence[Identity]) -> None:
    """Refuse before a directory or a perspective's key is made; the engine judges again."""
    base = sealed(place.settings, place.data)
    engine.must_be_enough(place, script, identities, base)
    if not past.interrupted(place.data):
        script.plan(base)


def _needs_rest(data: DataDirectory, script: Script) -> bool:
    """Whether the CA must rest meanwhile: at the first ceremony, and where a step writes as the vault does.

    Others are held beside a running CA: CRLs and OCSP answers go on, above all when a key is compromised.
    """
    return not hierarchies.exists(data) or any(step.KIND in AT_REST for step in script.steps)


@contextlib.contextmanager
def _at_rest(data: DataDirectory) -> Iterator[None]:
    with alone(data), _one_at_a_time(data):
        _must_not_run(data)
        yield


@contextlib.contextmanager
def _one_at_a_time(data: DataDirectory) -> Iterator[None]:
    """By a lock that the kernel lets go of with the process."""
    with (data.run / "ceremony.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(f"another ceremony is held in {data.root} right now") from error
        yield


def _must_not_run(data: DataDirectory) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(data.vault_socket))
        except OSError:
            return
    raise ConfigurationError(
        f"the vault of {data.root} runs: stop it first, this ceremony is held while the CA rests"
    )


def _perspectives(
    settings: Settings, data: DataDirectory, randomness: Randomness, script: Script, say: Say
) -> dict[str, bytes]:
    """The public keys that lie here, made where they are missing, if the script pins them."""
    pins = [step for step in script.steps if isinstance(step, PinPerspectives)]
    if not pins:
        return {}
    return perspective_keys(settings, data, randomness, say, {code for step in pins for code in step.keys})
