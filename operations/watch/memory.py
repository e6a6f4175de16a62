"""What the watch remembers between two looks: numbers that may not fall, entries not to be lost, history.

A file of JSON, replaced as a whole.  Of each CRL the serials with the smallest hashes are kept, so that two
looks follow the same ones, however long the list is.

Must never: grow without bound; fail a look because the file is damaged (that is said, and begun anew).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.durable import sync_directory
from operations.watch.finding import State

FOLLOWED = 500
"""Serials of one CRL that are followed."""

LOOKS = 500
"""Looks in the history: five days at one a quarter of an hour."""

CRLS = 5000
"""CRLs that are remembered; whoever publishes under ever new names shall not fill our disk."""

VERSION = 1


@dataclass(slots=True)
class SeenCrl:
    """A CRL as it was last seen; serials in hexadecimal."""

    number: int
    this_update: int
    serials: list[str]


@dataclass(slots=True)
class SeenRegister:
    """How far the CA's register had come: revocation version, and number and hash of an audit record."""

    version: int
    sequence: int
    hash: str


@dataclass(slots=True)
class Look:
    """One look: when, how it ended, and the names of what was not well."""

    at: int
    state: State
    not_well: list[str]


@dataclass(slots=True)
class Memory:
    """All of it.  `ends` has the notAfter of serials that we know: "issuer id:serial" -> POSIX seconds."""

    crls: dict[str, SeenCrl] = field(default_factory=dict)
    manifest: int = 0
    canary_at: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    register: SeenRegister | None = None

    def add(self, look: Look) -> None:
        """One more look."""
        self.looks = [*self.looks, look][-LOOKS:]

    def saw(self, url: str, seen: SeenCrl) -> None:
        """A CRL as it is now; those that were not seen for longest are forgotten first."""
        self.crls.pop(url, None)
        self.crls[url] = seen
        while len(self.crls) > CRLS:
            del self.crls[next(iter(self.crls))]

    def know(self, issuer: str, serial: int, ends: int) -> None:
        """A certificate whose end we saw ourselves."""
        self.ends[f"{issuer}:{serial:x}"] = ends
        while len(self.ends) > 10 * FOLLOWED:
            del self.ends[next(iter(self.ends))]


def followed(serials: Iterable[int], count: int = FOLLOWED) -> list[int]:
    """The `count` serials with the smallest hashes."""
    return sorted(serials, key=lambda serial: hashlib.sha256(b"%x" % serial).digest())[:count]


def load(path: Path | None) -> tuple[Memory, str]:
    """What is remembered, and what is wrong with the file ("" when nothing is)."""
    if path is None or not path.exists():
        return Memory(), ""
    try:
        return _read(json.loads(path.read_bytes())), ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Memory(), f"{path} cannot be read ({error}): what was seen before is forgotten"


def save(path: Path | None, memory: Memory) -> None:
    """Keep it; whole or not at all."""
    if path is not None:
        replace(path, json.dumps({"version": VERSION, **asdict(memory)}).encode())


def replace(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one."""
    aside = path.with_name(f".{path.name}.new")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.chmod(0o644)  # a web server or node_exporter may read it
    aside.replace(path)
    sync_directory(path.parent)  # else an older memory could be back after a power failure


def _read(found: dict[str, Any]) -> Memory:
    return Memory(
        crls={
            str(url): SeenCrl(
                int(each["number"]), int(each["this_update"]), [str(s) for s in each["serials"]]
            )
            for url, each in found["crls"].items()
        },
        manifest=int(found["manifest"]),
        canary_at=int(found["canary_at"]),
        ends={str(name): int(at) for name, at in found["ends"].items()},
        looks=[
            Look(int(each["at"]), State(each["state"]), [str(name) for name in each["not_well"]])
            for each in found["looks"]
        ],
        register=_register(found.get("register")),  # a file of before it was remembered has none
    )


def _register(found: dict[str, Any] | None) -> SeenRegister | None:
    if found is None:
        return None
    return SeenRegister(int(found["version"]), int(found["sequence"]), str(found["hash"]))
