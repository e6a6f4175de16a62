"""The embedded set-up: the built-in script, held by nobody, with the PINs in files of mode 0600.

A convenience for trying things out and for a private CA on one machine.  It does not conform to BR 6.2.2 and
6.2.8 (several people, activation data), says so, and production refuses it.

CPS 6.1, 6.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.people import Person
from core.randomness import Randomness
from core.settings import Settings
from signer.vault.ceremony import engine, past
from signer.vault.ceremony.script import Script, parse
from signer.vault.ceremony.step import Say
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed.seal import Hierarchy

SCRIPT = Path(__file__).with_name("embedded.toml")


def script() -> Script:
    """The built-in script."""
    return parse(SCRIPT.read_text(encoding="utf-8"), _nobody)


def create(
    data: DataDirectory,
    settings: Settings,
    clock: Clock,
    randomness: Randomness,
    perspectives: Mapping[str, bytes],
    say: Say = lambda line: None,
) -> Hierarchy:
    """Hold it, or go on with one that was killed.  `perspectives` maps code to SubjectPublicKeyInfo.

    Runs an event loop of its own, so it is called outside of one.  Raises `ConfigurationError`, `CaError`.
    """
    if hierarchies.exists(data) and not past.interrupted(data):
        raise ConfigurationError(f"{data.root} holds a hierarchy already: another CA needs another --data")
    place = engine.Place(data, settings, clock, randomness, SCRIPT.parent, perspectives, say)
    held = asyncio.run(engine.hold(place, script(), ()))
    say(f"trust anchor: {data.trust_anchor}")
    return held.hierarchy


def _nobody(file: str) -> Person:
    raise ConfigurationError(f"the built-in script names no people, and here is {file}")
