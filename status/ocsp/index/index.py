"""Looks answers up in the index: segments mapped and shared by all workers, and the tails behind them.

Must never: change a file; give an answer that is damaged or from the future.

docs/adr/0033.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from core.clock import Clock
from status.ocsp.index.files import (
    CATALOGUE,
    Catalogue,
    Damaged,
    Kept,
    SegmentFile,
    TailReader,
    place,
    read_catalogue,
    segment_path,
    tail_path,
)
from status.ocsp.index.records import SERIAL_OCTETS, TOLERANCE, Record, key_of

LOOK_EVERY = 0.2
"""Seconds between two looks at what the keeper did; what is not found yet is signed live."""

_AFTER_ALL = b"\xff" * 32

_log = logging.getLogger(__name__)


class Index:
    """The index below `directory`, as far as it is there."""

    def __init__(self, directory: Path, clock: Clock, every: float = LOOK_EVERY) -> None:
        self._directory = directory
        self._clock = clock
        self._every = every
        self._looked_at: float | None = None
        self._seen: tuple[int, int, int] | None = None
        self._files: dict[int, SegmentFile | None] = {}
        self._starts: list[bytes] = []
        self._tails: list[TailReader] = []
        self._late: dict[bytes, Kept] = {}
        """What is in tails, the newest of each key."""
        self.catalogue = Catalogue()
        self.changes = 0
        """Counts what came into it: while it stays, `find` has the same answers, but for the time."""

    def find(self, serial: bytes, hash_name: str) -> Kept | None:
        """The newest answer about `serial` whose CertID is made by `hash_name`, over or not."""
        if len(serial) > SERIAL_OCTETS:
            return None
        self.follow()
        return self.newest(key_of(serial, hash_name))

    def follow(self) -> None:
        """`look`, when it is time for it."""
        at = self._clock.monotonic()
        if self._looked_at is None or at - self._looked_at >= self._every:
            self._looked_at = at
            self.look()

    def newest(self, key: bytes) -> Kept | None:
        """As `find`, by key and without a look at the files."""
        latest = self._clock.latest() + TOLERANCE
        late, found = self._late.get(key), None
        if self._starts and (segment := self._segment(place(self._starts, key))) is not None:
            found = segment.find(key)
        return newer(found, late, latest)

    def look(self) -> None:
        """Notice a new catalogue and what was appended to a tail."""
        try:
            status = os.stat(self._directory / CATALOGUE)
            seen = status.st_ino, status.st_size, status.st_mtime_ns
        except OSError:
            return
        if seen != self._seen:
            catalogue = read_catalogue(self._directory)
            if catalogue is None:
                _log.error("%s: the catalogue of answers is damaged", self._directory)
            elif catalogue != self.catalogue:
                self._take(catalogue)
            self._seen = seen
        for tail in self._tails:
            for each in tail.news():
                self._add(each)

    def all(self) -> Iterator[Kept]:
        """The newest answer of each key, in no order; for audits and exports."""
        latest = self._clock.latest() + TOLERANCE
        rest = dict(self._late)
        for number, start in enumerate(self._starts):
            end = self._starts[number + 1] if number + 1 < len(self._starts) else _AFTER_ALL
            for each in self._segment(number) or ():
                if start <= each[1].key < end:
                    found = newer(each, rest.pop(each[1].key, None), latest)
                    if found is not None:
                        yield found
        yield from (each for each in rest.values() if each[1].this_update <= latest)

    @property
    def tail_records(self) -> int:
        """Answers that lie in tails."""
        return len(self._late)

    @property
    def version(self) -> int:
        """The highest revocation version that it was made from."""
        segments = (each.version for each in self.catalogue.segments)
        return max(self.catalogue.version, *segments, *(each.version for _, each in self._late.values()), 0)

    def tail(self, number: int) -> TailReader | None:
        return next((tail for tail in self._tails if tail.number == number), None)

    def _take(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.changes += 1
        self._starts = [each.start for each in catalogue.segments]
        # All at once, not when asked for: two generations later the files of this one are removed.
        named = {each.number for each in catalogue.segments if each.number}
        self._files = {
            number: self._files[number] if number in self._files else self._mapped(number) for number in named
        }
        known = {tail.number: tail for tail in self._tails}
        if not set(known) <= set(catalogue.tails):
            known, self._late = {}, {}  # one is gone: what it held lies in segments now
        self._tails = [
            known.get(number) or TailReader(tail_path(self._directory, number), number)
            for number in catalogue.tails
        ]

    def _add(self, kept: Kept) -> None:
        held = self._late.get(kept[1].key)
        latest = self._clock.latest() + TOLERANCE
        best = newer(held, kept, latest)
        if best is not None:
            self.changes += 1
            self._late[kept[1].key] = best

    def _segment(self, position: int) -> SegmentFile | None:
        return self._files.get(self.catalogue.segments[position].number)

    def _mapped(self, number: int) -> SegmentFile | None:
        try:
            return SegmentFile(segment_path(self._directory, number))
        except Damaged as damaged:
            _log.error("%s is not used, its answers are signed when asked for: %s", number, damaged)
            return None


def newer(one: Kept | None, other: Kept | None, latest: int) -> Kept | None:
    """The newer answer; what is made after `latest` counts for nothing, as a clock was wrong."""
    if one is not None and one[1].this_update > latest:
        one = None
    if other is not None and other[1].this_update > latest:
        other = None
    if one is None or other is None:
        return one or other
    return other if other[1].order > one[1].order else one


def supersedes(new: Record, old: Kept | None) -> bool:
    """Whether `new` may stand in the place of `old`."""
    return old is None or new.order >= old[1].order


def leftovers(directory: Path) -> None:
    """Remove what a crash left half-written."""
    for path in directory.glob(".*.new"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
