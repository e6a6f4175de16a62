"""Keeps the files of the daily lists, and says of each what a manifest has to say: size, digest, counts.

The last manifest is the only state: it says up to which audit record its lists go and how long each file is.
Lines are added behind that, so a crash before the next manifest leaves files that are longer than any
manifest says, and the next try cuts them there and writes the same again.  A reader finds the octets that his
manifest names at the beginning of the file, however long it has grown.

`history.jsonl` has one line for each day that is over, with its counts and its lists' digests.

Must never: change a line that a manifest has named.
"""

from __future__ import annotations

import gzip
import logging
from dataclasses import dataclass, field, replace

import msgspec

from core import audit
from core.database import Rows
from repo_static.manifest import lists
from repo_static.manifest.lists import ISSUED, REVOKED, Tally
from repo_static.store import EMPTY, LEVEL, Extent, Store

HISTORY = "history.jsonl"

WINDOWS = 50
"""Windows of records in one go: a manifest need not wait until a log of years has been read."""

_PENDING = 8 * 2**20
"""Octets of lines that are kept before a file is written again: each time costs a copy of it."""

_log = logging.getLogger(__name__)


@dataclass
class File:
    """A public file: its first `size` octets have this digest (SHA-256, hex); `gzip` is the same, packed."""

    url: str
    size: int
    sha256: str
    gzip: File | None = None


@dataclass
class Listed:
    """One list of one day: how many serial numbers, by issuer and profile or reason, and the file."""

    count: int
    by_issuer: dict[str, dict[str, int]]
    list: File


@dataclass
class Day:
    """A day, in UTC."""

    date: str
    issued: Listed
    revoked: Listed


@dataclass
class Position:
    """The last audit record that was looked at, its hash in hex, and when (POSIX seconds)."""

    sequence: int
    hash: str
    at: int


@dataclass
class Days:
    """What a manifest says of the lists; `complete` is false while older records are still being read."""

    position: Position
    complete: bool
    open: Day
    history: File


@dataclass
class _Open:
    """The day that is being written."""

    date: str
    tallies: dict[str, Tally] = field(default_factory=lambda: {ISSUED: Tally(), REVOKED: Tally()})
    files: dict[str, File] = field(default_factory=dict)
    pending: dict[str, list[bytes]] = field(default_factory=lambda: {ISSUED: [], REVOKED: []})
    octets: int = 0

    def take(self, step: lists.Step) -> None:
        """Keep the lines of a step, and count them."""
        for kind, lines in step.lines.items():
            self.pending[kind] += lines
            self.octets += sum(map(len, lines))
            for issuer, counts in step.tallies[kind].by.items():
                for what, count in counts.items():
                    self.tallies[kind].add(issuer, what, count)


class Book:
    """The lists of one tree.  To be used in one thread at a time."""

    def __init__(self, store: Store, base_url: str) -> None:
        self._store = store
        self._base = base_url

    def bring_up(self, rows: Rows, last: Days | None, now: int) -> Days:
        """Write what happened since `last`, for `WINDOWS` windows at most; what the next manifest says."""
        today, history, at = self._resume(rows, last, now)
        # The time before the head: what commits in between is read the next time.
        newest = audit.head(rows)
        for _ in range(WINDOWS):
            if at.sequence == newest.sequence:
                break
            upto = lists.window(rows, at.sequence)
            for step in lists.step(rows, at.sequence, upto.sequence):
                while today.date < step.day:
                    history = self._close(today, history)
                    today = self._begin(lists.next_day(today.date))
                today.take(step)
                if today.octets >= _PENDING:
                    self._write(today)
            at = upto
        complete = at.sequence == newest.sequence
        while complete and lists.is_over(today.date, now):
            history = self._close(today, history)
            today = self._begin(lists.next_day(today.date))
        self._write(today)
        return Days(Position(at.sequence, at.hash.hex(), now), complete, _said(today), history)

    def _resume(self, rows: Rows, last: Days | None, now: int) -> tuple[_Open, File, audit.Head]:
        if last is None or not self._is_there(last):
            if last is not None:
                _log.error("the daily lists are not what the manifest says: they are written again")
            row = rows.one("SELECT at FROM audit ORDER BY sequence LIMIT 1")
            first = lists.day_of(now if row is None else row["at"])
            return self._begin(first), self._grow(HISTORY, None, b""), audit.Head()
        today = _Open(
            last.open.date,
            {
                ISSUED: Tally(last.open.issued.count, last.open.issued.by_issuer),
                REVOKED: Tally(last.open.revoked.count, last.open.revoked.by_issuer),
            },
            {ISSUED: last.open.issued.list, REVOKED: last.open.revoked.list},
        )
        at = lists.head_at(rows, last.position.sequence)
        if at.hash.hex() != last.position.hash:
            # What is public stays, though the records are gone that it was made of: all newer ones follow it.
            at = lists.head_at(rows, lists.last_before(rows, last.position.at))
            _log.critical(
                "the audit log is not the one that the last manifest was made of: was it restored? The daily "
                "lists go on after its record %d",
                at.sequence,
            )
        return today, last.history, at

    def _is_there(self, days: Days) -> bool:
        files = (days.history, days.open.issued.list, days.open.revoked.list)
        return all(
            self._store.size(self._name(each)) >= each.size
            for file in files
            for each in (file, file.gzip)
            if each is not None
        )

    def _begin(self, date: str) -> _Open:
        files = {kind: self._grow(f"{kind}/{date}.jsonl", None, b"") for kind in (ISSUED, REVOKED)}
        return _Open(date, files=files)

    def _write(self, today: _Open) -> None:
        for kind, lines in today.pending.items():
            if lines:
                file = today.files[kind]
                today.files[kind] = self._grow(self._name(file), file, b"".join(lines))
                lines.clear()
        today.octets = 0

    def _close(self, today: _Open, history: File) -> File:
        self._write(today)
        line = msgspec.json.encode(_said(today)) + b"\n"
        return self._grow(HISTORY, history, line)

    def _grow(self, name: str, before: File | None, more: bytes) -> File:
        packed = gzip.compress(
            more, LEVEL, mtime=0
        )  # members one after another are one file (RFC 1952 section 2.2)
        variant = self._grown(f"{name}.gz", before.gzip if before else None, packed)
        return replace(self._grown(name, before, more), gzip=variant)

    def _grown(self, name: str, before: File | None, more: bytes) -> File:
        extent = self._store.grow(name, Extent(before.size, before.sha256) if before else EMPTY, more)
        return File(f"{self._base}/{name}", extent.size, extent.sha256)

    def _name(self, file: File) -> str:
        return file.url.removeprefix(f"{self._base}/")


def _said(today: _Open) -> Day:
    issued, revoked = (
        Listed(today.tallies[kind].count, today.tallies[kind].by, today.files[kind])
        for kind in (ISSUED, REVOKED)
    )
    return Day(today.date, issued, revoked)
