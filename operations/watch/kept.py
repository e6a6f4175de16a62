"""The newest files of a CA that were well, kept: what brings a register back of which nobody else has a copy.

`acme-server reconcile --manifest DIR/manifest.jws --crl DIR/crl/NAME` reads them (docs/operations.md).

Must never: write outside of its directory, grow without bound, or let an older file stand for a newer one
(whoever calls has looked).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from operations.watch.fetch import Fetcher
from operations.watch.finding import State, Wrong
from operations.watch.limits import CRL_OCTETS
from operations.watch.memory import replace
from operations.watch.signed import Manifest

MOST_OCTETS = 1 << 30
"""Of all that is kept: a hundred CRLs of the largest size that programmes accept."""

DAYS = 7
"""Days whose lists are fetched when they are over; a watch that was away for longer has a hole."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HISTORY = "history.jsonl"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that the manifest names: its first `size` octets have this SHA-256 (hex)."""

    name: str
    url: str
    size: int
    sha256: str


class Kept:
    """One directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sizes = {
            str(path.relative_to(directory)): path.stat().st_size
            for path in directory.rglob("*")
            if path.is_file()
        }

    def put(self, name: str, octets: bytes) -> None:
        """Keep it in the place of the one before.  `name` is "manifest.jws", "crl/NAME" or the like.

        Raises `Wrong`.
        """
        if not all(_NAME.fullmatch(part) for part in name.split("/")):
            name = f"{name.partition('/')[0]}/{hashlib.sha256(name.encode()).hexdigest()}"
        path = self.directory / name
        if self._sizes.get(name) == len(octets) and path.read_bytes() == octets:
            return
        total = sum(self._sizes.values()) - self._sizes.get(name, 0) + len(octets)
        if total > MOST_OCTETS:
            raise Wrong(
                f"{name} is not kept: all would have {total} octets",
                f"remove from {self.directory} what is of no use any more",
                State.WARN,
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            replace(path, octets)
        except OSError as error:
            remedy = "see to the disk and to whom the directory belongs"
            raise Wrong(f"{path} cannot be written: {error.strerror}", remedy) from error
        self._sizes[name] = len(octets)

    def has(self, listed: Listed) -> bool:
        """Whether these very octets are kept."""
        if self._sizes.get(listed.name) != listed.size:
            return False
        octets = (self.directory / listed.name).read_bytes()
        return hashlib.sha256(octets).hexdigest() == listed.sha256


async def keep(kept: Kept, fetcher: Fetcher, manifest: Manifest) -> str:
    """The manifest, when all lists that it leads to and that are new have been kept.  Raises `Wrong`."""
    count = 0
    try:
        days = manifest.said["days"]
        await _fetch(kept, fetcher, _file(_HISTORY, days["history"]))
        lines = (kept.directory / _HISTORY).read_bytes().splitlines()[-DAYS:]
        for day in (*(msgspec.json.decode(line) for line in lines), days["open"]):
            for listed in _of(day):
                count += await _fetch(kept, fetcher, listed)
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise Wrong(f"the manifest's lists cannot be read: {error}", "see who publishes there") from error
    kept.put("manifest.jws", manifest.jws)
    return f"{count} new lists kept in {kept.directory}"


async def _fetch(kept: Kept, fetcher: Fetcher, listed: Listed) -> bool:
    if kept.has(listed):
        return False
    got = await fetcher.get(listed.url, CRL_OCTETS)
    octets = got.octets[: listed.size]
    if len(octets) != listed.size or hashlib.sha256(octets).hexdigest() != listed.sha256:
        raise Wrong(
            f"{listed.url}: its first {listed.size} octets have another SHA-256 than the manifest says",
            "publish the CA's own file again, and find out who changed it",
        )
    kept.put(listed.name, octets)
    return True


def _of(day: dict[str, Any]) -> Iterator[Listed]:
    date = str(day["date"])
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise ValueError(f"{date!r} is no day")
    for kind in ("issued", "revoked"):
        yield _file(f"{kind}/{date}.jsonl", day[kind]["list"])


def _file(name: str, said: dict[str, Any]) -> Listed:
    return Listed(name, str(said["url"]), int(said["size"]), str(said["sha256"]))
