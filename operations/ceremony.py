"""The embedded set-up: perspective keys, then the hierarchy, in a process of its own.

The supervisor starts `python -m operations.ceremony --data D [--config F] [--set k=v]`, which ends: the
process that stays never maps the token's library.  What is made is the matter of
signer/vault/ceremony/embedded.py.

Must never: overwrite a hierarchy; print a PIN.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from core.clock import Clock, SystemClock
from core.configuration import load
from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError
from core.randomness import Randomness, SystemRandomness
from core.settings import Settings
from operations.process import LOG_FORMAT, Exit, crash_at


def hold(
    settings: Settings,
    data: DataDirectory,
    clock: Clock,
    randomness: Randomness,
    progress: Callable[[str], None],
) -> None:
    """Make what is missing of a CA's keys and certificates.  Raises `CaError` with the remedy."""
    from signer.vault.ceremony import embedded

    embedded.create(
        data, settings, clock, randomness, perspective_keys(settings, data, randomness, progress), progress
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the ceremony of one data directory; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m operations.ceremony", description=main.__doc__)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--crash-at", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=LOG_FORMAT)
    if options.crash_at:
        crash_at(options.crash_at)
    os.umask(0o077)
    try:
        settings = load(options.config, options.set)
        hold(
            settings,
            DataDirectory(options.data),
            SystemClock(),
            SystemRandomness(),
            lambda step: print(f"  {step}", flush=True),
        )
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIGURATION
    except CaError as error:
        print(error, file=sys.stderr)
        return Exit.REFUSED
    return Exit.DONE


def perspective_keys(
    settings: Settings,
    data: DataDirectory,
    randomness: Randomness,
    progress: Callable[[str], None],
    elsewhere: AbstractSet[str] = frozenset(),
) -> dict[str, bytes]:
    """Each perspective's SubjectPublicKeyInfo by its code, but for those `elsewhere` and those with a url.

    A key that lies here is used again; one that is missing is made.  A perspective on another host makes its
    own (`acme-server perspective-key`), whose public half may lie here as public.pem.
    """
    from validation import keys

    named = settings.validation.key_passphrase_file
    passphrase = Path(named) if named else None
    found = {}
    for perspective in settings.validation.perspectives:
        if perspective.code in elsewhere:
            continue
        directory = data.perspective(perspective.code)
        if perspective.url:
            if (directory / keys.PUBLIC_FILE).exists():
                found[perspective.code] = keys.read_public_key(directory / keys.PUBLIC_FILE)
        elif (directory / keys.KEY_FILE).exists():
            found[perspective.code] = keys.public_key_octets(keys.load_private_key(directory, passphrase))
        else:
            found[perspective.code] = keys.generate_key(directory, randomness, passphrase)
            progress(f"perspective {perspective.code}: key made, it will sign what it saw")
    return found


if __name__ == "__main__":
    sys.exit(main())
