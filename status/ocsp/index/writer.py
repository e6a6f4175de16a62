"""The one hand that writes the index.

Every change is durable before it counts: a new segment is whole on the disk before a catalogue names it, an
entry of a tail before anybody is told.  Whatever was cut off by a crash is not named, and removed at the next
start.

Must never: let an older answer stand in the place of a newer one; remove what a catalogue still names.

docs/adr/0033.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.answerable import Place
from core.clock import Clock
from core.errors import ConfigurationError
from status.ocsp.index import files
from status.ocsp.index.files import Catalogue, Kept, Segment, TailWriter
from status.ocsp.index.index import Index, leftovers, supersedes

TAIL_RECORDS = 32_768
"""Answers in a tail before another one is begun and its own go into segments: 16 MB in every worker."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes a segment: the answers in the order of their keys, complete up to `place`.

    `tails`: what lay in tails up to this one is among them.  `rest`: the key at which the remainder of the
    old segment begins, None when there is none.  `refused`: answers that the vault did not make.
    """

    answers: Sequence[Kept]
    made_at: int
    place: Place
    tails: int
    rest: bytes | None = None
    refused: int = 0


class Writer:
    """The index below `directory`, which is made when it is not there.

    Raises `ConfigurationError` when another process writes it.
    """

    def __init__(self, directory: Path, clock: Clock, tail_records: int = TAIL_RECORDS) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._directory = directory
        self._clock = clock
        self._tail_records = tail_records
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConfigurationError(f"another keeper writes {directory}: stop that one first") from error
        leftovers(directory)
        self.index = Index(directory, clock, every=0)
        self._previous = Catalogue()
        self._tail: TailWriter | None = None
        self._in_tail = 0
        self.index.look()
        self.was_damaged = self._read_on()

    @property
    def catalogue(self) -> Catalogue:
        return self.index.catalogue

    @property
    def tail_is_full(self) -> bool:
        """Whether answers of closed tails should go into segments now."""
        return self.index.tail_records > self._tail_records

    @property
    def closed_tail(self) -> int:
        """The newest tail to which nothing is appended any more; 0 when there is none."""
        closed = self.catalogue.tails if self._tail is None else self.catalogue.tails[:-1]
        return max(closed, default=0)

    def append(self, answers: Iterable[Kept]) -> list[Kept]:
        """Add answers that cannot wait, durably; those that were taken, being no older than what is there."""
        taken = [each for each in answers if supersedes(each[1], self.index.newest(each[1].key))]
        if not taken:
            return []
        if self._tail is None or self._in_tail >= self._tail_records:
            self._tail = self._begun_tail()
        self._tail.append(taken)
        self._in_tail += len(taken)
        self.index.look()
        return taken

    def replace(self, position: int, piece: Piece) -> list[Kept]:
        """Put `piece` in the place of a segment, or of its beginning; what is said there from now on."""
        catalogue = self.catalogue
        old, number = catalogue.segments[position], catalogue.next_number
        best = [self._best(each) for each in piece.answers]
        count = files.write_segment(files.segment_path(self._directory, number), best)
        made = Segment(
            start=old.start,
            number=number,
            records=count,
            made_at=piece.made_at,
            until=min((r.next_update for _, r in best if r.this_update >= piece.made_at), default=0),
            version=piece.place.version,
            row=piece.place.row,
            folded=piece.tails,
            refused=piece.refused,
        )
        rest = () if piece.rest is None else (replace(old, start=piece.rest),)
        segments = (*catalogue.segments[:position], made, *rest, *catalogue.segments[position + 1 :])
        done = min(each.folded for each in segments)
        tails = tuple(each for each in catalogue.tails if each > done or each == catalogue.tails[-1])
        self._publish(replace(catalogue, segments=segments, tails=tails, next_number=number + 1))
        return best

    def follow(self, row: int, version: int, last: Place) -> None:
        """Remember how far the register was followed, and what its end was then."""
        self._publish(
            replace(self.catalogue, row=row, version=version, last_row=last.row, last_id=last.row_id)
        )

    def want(self, place: Place) -> None:
        """Have every segment written again that is not complete up to `place`."""
        self._publish(replace(self.catalogue, wanted_row=place.row, wanted_version=place.version))

    def distrust(self) -> None:
        """Have every segment compared with the register, whatever it says of itself."""
        segments = tuple(replace(each, row=-1, version=-1) for each in self.catalogue.segments)
        self._publish(replace(self.catalogue, segments=segments))

    def close(self) -> None:
        if self._tail is not None:
            self._tail.close()
        os.close(self._lock)

    def _best(self, kept: Kept) -> Kept:
        held = self.index.newest(kept[1].key)
        return kept if held is None or supersedes(kept[1], held) else held

    def _begun_tail(self) -> TailWriter:
        if self._tail is not None:
            self._tail.close()
        number = self.catalogue.next_number
        tail = TailWriter(files.tail_path(self._directory, number))
        self._in_tail = 0
        self._publish(replace(self.catalogue, tails=(*self.catalogue.tails, number), next_number=number + 1))
        return tail

    def _read_on(self) -> bool:
        """Whether something that the catalogue names is not whole; nothing that is there is written over."""
        numbers = [0]
        for path in self._directory.iterdir():
            name, _, number = path.name.rpartition("-")
            if name in ("segment", "tail") and number.isdecimal():
                numbers.append(int(number))
        following = max(self.catalogue.next_number, max(numbers) + 1)
        self.index.catalogue = replace(self.catalogue, next_number=following)
        readers = [self.index.tail(number) for number in self.catalogue.tails]
        named = {each.number for each in self.catalogue.segments if each.number}
        return not (
            all(reader is not None and reader.is_whole() for reader in readers)
            and all(files.is_whole(files.segment_path(self._directory, each)) for each in named)
        )

    def _publish(self, catalogue: Catalogue) -> None:
        self._previous = self.catalogue
        files.write_catalogue(self._directory, catalogue)
        self.index.look()
        keep = {
            *_names(self._previous),
            *_names(self.catalogue),
        }
        for path in self._directory.iterdir():
            if path.name.startswith(("segment-", "tail-")) and path.name not in keep:
                path.unlink(missing_ok=True)


def _names(catalogue: Catalogue) -> set[str]:
    return {f"segment-{each.number}" for each in catalogue.segments} | {
        f"tail-{number}" for number in catalogue.tails
    }
