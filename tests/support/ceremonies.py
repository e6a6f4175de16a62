"""People, scripts and ceremonies for tests: real SoftHSM2 tokens, small and quick keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from core.clock import Clock, SystemClock
from core.data_directory import DataDirectory
from core.people import Identity
from core.randomness import SystemRandomness
from core.settings import Settings
from signer.vault.ceremony import engine
from signer.vault.ceremony.engine import Held, Place
from signer.vault.ceremony.script import Script, parse
from tests.support.hierarchy import local_spki, settings

NAMES = ("Alice", "Bob", "Carol", "Dave", "Erin")

HEAD = """
[ceremony]
title = "{title}"
[policy]
present = {present}
of = {of}
"""

FIRST = """
[[tokens]]
label = "issuing"
role = "issuing"
[[tokens]]
label = "root"
role = "root"
[[steps]]
kind = "pin-perspectives"
[[steps]]
kind = "make-token"
token = "issuing"
[[steps]]
kind = "generate-key"
token = "issuing"
label = "ec-1"
algorithm = "ec-p256"
[[steps]]
kind = "generate-key"
token = "issuing"
label = "local-1"
algorithm = "ec-p256"
[[steps]]
kind = "make-token"
token = "root"
[[steps]]
kind = "generate-key"
token = "root"
label = "root"
algorithm = "ec-p384"
[[steps]]
kind = "root-certificate"
[[steps]]
kind = "issuing-certificate"
id = "ec-1"
common_name = "EC Issuing CA 1"
[[steps]]
kind = "local-service-certificate"
id = "local-1"
common_name = "Local Service CA 1"
[[steps]]
kind = "root-crl"
[[steps]]
kind = "seal"
"""


def people(count: int = 3) -> list[Identity]:
    """So many new people."""
    return [Identity.make(name, "key custodian", SystemRandomness()) for name in NAMES[:count]]


def script(
    identities: Sequence[Identity], steps: str = FIRST, *, present: int = 2, title: str = "A test"
) -> Script:
    """A script of these people and these tables."""
    by_name = {identity.person.name: identity.person for identity in identities}
    head = HEAD.format(title=title, present=present if identities else 0, of=len(identities))
    named = "".join(f'[[people]]\nfile = "{name}"\n' for name in by_name)
    return parse(head + named + steps, lambda file: by_name[file])


def place(data: DataDirectory, chosen: Settings | None = None, clock: Clock | None = None) -> Place:
    """Where a test's ceremony is held."""
    return Place(
        data,
        chosen or settings(),
        clock or SystemClock(),
        SystemRandomness(),
        data.root,
        {"local": local_spki()},
    )


def hold(
    where: DataDirectory | Path,
    what: Script,
    present: Sequence[Identity],
    chosen: Settings | None = None,
    clock: Clock | None = None,
) -> Held:
    """Hold it, outside of an event loop."""
    data = where if isinstance(where, DataDirectory) else DataDirectory(where)
    return asyncio.run(engine.hold(place(data, chosen, clock), what, present))
