"""Follows the register: what was issued or revoked has its answers within seconds.

New rows are met by their rowid, revocations by their version; a row that was only reserved is looked at again
until it is more.  Where that would be too many at a time, the rounds are told to compare all segments with
the register instead (status/ocsp/rounds.py).

Must never: forget a row that was met; believe that the register is the one of yesterday without a look.

BR 4.9.10 (authoritative soon after a certificate or precertificate is out).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from core import answerable
from core.clock import Clock
from core.database import Reader
from status.ocsp.index.files import Kept
from status.ocsp.index.writer import Writer
from status.ocsp.keeping import Batches, missing

AT_ONCE = 2_000
"""Rows or revocations in one look; more are left to the rounds when there are ten times as many."""

TOO_MANY = 20_000

FOLLOW_EVERY = 60
"""Seconds between two notes of how far the register was followed: what came since is looked at again."""

_RESERVED = 100_000
_log = logging.getLogger(__name__)


class News:
    """`on_change` is told of serials whose answers are no longer true, and then of the new ones."""

    def __init__(
        self,
        reader: Reader,
        batches: Batches,
        writer: Writer,
        clock: Clock,
        on_change: Callable[[Sequence[bytes], Sequence[Kept]], None] = lambda gone, made: None,
    ) -> None:
        self._reader = reader
        self._batches = batches
        self._writer = writer
        self._clock = clock
        self._on_change = on_change
        self._row = -1
        self._version = 0
        self._waiting: set[int] = set()
        """Rows that were only reserved."""
        self._noted_at = 0
        self._noted = -1, -1
        self.behind = 0
        """Rows and revocations that were seen and have no answer yet."""

    async def look(self) -> int:
        """One look; how many answers were signed.  Raises `TransientError`, `HaltIssuance`."""
        place = answerable.place(self._reader)
        if self._row < 0:
            self._begin(place)
        rows = answerable.rows_after(self._reader, self._row, TOO_MANY + 1)
        now = self._clock.latest()
        revoked = answerable.revoked_after(self._reader, self._version, now, TOO_MANY + 1)
        if max(len(rows), len(revoked)) > TOO_MANY:
            _log.warning("more than %d serials are new at once: the rounds sign for them", TOO_MANY)
            self._leave_to_the_rounds(place)
            return 0
        waiting = self._waiting | {row["row"] for row in rows if row["state"] == "reserved"}
        still = answerable.still_reserved(self._reader, sorted(waiting))
        new = [row["row"] for row in rows if row["row"] not in waiting] + sorted(waiting - still)
        standings = [*revoked, *answerable.of_rows(self._reader, new, now)]
        signed = await self._sign(standings)
        if rows:
            self._row = rows[-1]["row"]
        self._version = place.version
        self._waiting = still
        self._note(place)
        return signed

    async def _sign(self, standings: list[answerable.Standing]) -> int:
        wanted = list({each.serial: each for each in missing(self._batches, standings)}.values())
        self.behind = len(wanted)
        signed = 0
        for at in range(0, len(wanted), AT_ONCE):
            page = wanted[at : at + AT_ONCE]
            self._on_change([each.serial for each in page if each.version], ())
            answers, count, _ = await self._batches.answers(page, renew=False, seconds=0)
            self._on_change((), self._writer.append(answers))
            self.behind -= len(page)
            signed += count
        return signed

    def _begin(self, place: answerable.Place) -> None:
        catalogue = self._writer.catalogue
        known = (
            answerable.is_there(self._reader, catalogue.last_row, catalogue.last_id)
            and place.version >= catalogue.version
        )
        if catalogue.sequence and (not known or self._writer.was_damaged):
            _log.error("the index or the register is not what it was: all answers are compared with it")
            self._writer.distrust()
        if not catalogue.sequence or not known:
            self._leave_to_the_rounds(place)
            return
        self._row, self._version = catalogue.row, catalogue.version

    def _leave_to_the_rounds(self, place: answerable.Place) -> None:
        self._waiting = answerable.reserved(self._reader, _RESERVED)
        self._row, self._version = place.row, place.version
        self._writer.want(place)
        self._note(place)

    def _note(self, place: answerable.Place) -> None:
        """What is only reserved is met again after a restart."""
        row = min(self._waiting, default=self._row + 1) - 1
        now = self._clock.latest()
        if (row, self._version) != self._noted and now >= self._noted_at + FOLLOW_EVERY:
            self._writer.follow(row, self._version, place)
            self._noted, self._noted_at = (row, self._version), now
