"""Renews every answer once a day, evenly: segment after segment, the oldest first.

The walk over the register is what makes the index complete: a segment is made from all serials of its range,
whatever happened to the tail or to the news.  While nothing is late there is one visit in each *slot* (the
time between two answers to one question, divided by the number of segments), so the vault's load is the same
at any hour, and after a burst (the first filling, an outage) it is again within one round.

Must never: replace a newer answer by an older one (the writer does not let it); wait with what is overdue.

BR 4.9.10 (validity and refresh of answers); requirements 2.67.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core import answerable
from core.clock import Clock
from core.database import Reader
from core.errors import CaError
from core.settings import Status
from status.ocsp.index.files import Kept, Segment
from status.ocsp.index.records import TOLERANCE, serial_of, start_of
from status.ocsp.index.writer import Piece, Writer
from status.ocsp.keeping import Batches, Pause
from status.ocsp.signing import AnswerSigner, NoResponder

SERIALS = 8_192
"""Serial numbers in a segment: two megabytes, a minute of a steady round at ten million certificates."""

EARLY = 15 / 16
"""A round takes this much of `status.ocsp_refresh`, so that no answer is older at its renewal."""

CATCH_UP = 4
"""How many times the steady pace what is overdue is renewed, while its nextUpdate is far."""

LONGEST_VISIT = 600.0
"""Seconds over which one segment's signatures are spread: a crash costs as many."""

MOST_TAILS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """What is to be done with the segment at `position`: `renew` all of it, or what will not do."""

    position: int
    renew: bool
    seconds: float
    why: str


class Rounds:
    """`on_change` is told what a visit made of its segment."""

    def __init__(
        self,
        reader: Reader,
        batches: Batches,
        signer: AnswerSigner,
        writer: Writer,
        clock: Clock,
        settings: Status,
        pause: Pause,
        on_change: Callable[[Sequence[bytes], Sequence[Kept]], None] = lambda gone, made: None,
        serials: int = SERIALS,
    ) -> None:
        self._reader = reader
        self._batches = batches
        self._signer = signer
        self._writer = writer
        self._clock = clock
        self._settings = settings
        self._pause = pause
        self._on_change = on_change
        self._serials = serials
        self.signed = 0

    @property
    def slot(self) -> float:
        """Seconds between two visits while nothing is late."""
        return self._settings.ocsp_refresh * EARLY / len(self._writer.catalogue.segments)

    async def turn(self) -> float:
        """Make the visit that is due, if there is one; seconds until the next one may be.

        Raises `TransientError`, `HaltIssuance`: nothing has changed then.
        """
        visit = await self.due()
        if visit is None:
            return max(1.0, self._next_slot() - self._clock.latest())
        await self._make(visit)
        return 0.0

    async def due(self) -> Visit | None:
        """The most urgent visit; None while there is none."""
        now = self._clock.latest()
        catalogue = self._writer.catalogue
        segments = list(enumerate(catalogue.segments))
        if (incomplete := self._incomplete()) is not None:
            return Visit(incomplete, renew=False, seconds=0, why="incomplete")
        for position, each in segments:
            if each.made_at > now + TOLERANCE:
                return Visit(position, renew=True, seconds=0, why="from the future")
        possible = await self._possible(now)
        margin = self._settings.ocsp_validity // 4
        ending = min(
            (each for each in segments if each[1].until), key=lambda each: each[1].until, default=None
        )
        if ending is not None and ending[1].until < min(possible - margin // 2, now + margin):
            return Visit(ending[0], renew=True, seconds=0, why="ends soon")
        if len(catalogue.tails) > MOST_TAILS or self._writer.tail_is_full:
            for position, each in segments:
                if each.folded < self._writer.closed_tail:
                    return Visit(position, renew=False, seconds=0, why="tail")
        position, oldest = min(segments, key=lambda each: each[1].made_at)
        if now >= oldest.made_at + self._settings.ocsp_refresh:
            return Visit(position, renew=True, seconds=self._spread() / CATCH_UP, why="overdue")
        if now >= self._next_slot():
            return Visit(position, renew=True, seconds=self._spread(), why="round")
        return None

    def is_urgent(self) -> bool:
        """Whether no visit should take its time: the news left more to the rounds than they could sign."""
        return self._incomplete() is not None

    def overdue(self, now: int) -> int:
        """Answers that should have been renewed by now, with an hour's grace."""
        after = self._settings.ocsp_refresh + 3600
        return sum(each.records for each in self._writer.catalogue.segments if now >= each.made_at + after)

    def refused(self) -> int:
        """Answers that the vault refused when it was asked for them last."""
        return sum(each.refused for each in self._writer.catalogue.segments)

    async def _make(self, visit: Visit) -> None:
        segments = self._writer.catalogue.segments
        segment = segments[visit.position]
        following = segments[visit.position + 1].start if visit.position + 1 < len(segments) else None
        tails = self._writer.closed_tail
        place, now = self._complete_up_to(), self._clock.latest()
        most = self._serials * 3 // 2
        standings = answerable.between(
            self._reader,
            _serial(segment),
            None if following is None else serial_of(following),
            now,
            most + 1,
        )
        rest = None
        if len(standings) > most:
            rest = start_of(standings[self._serials].serial)
            standings = standings[: self._serials]
        answers, signed, refused = await self._batches.answers(
            standings, renew=visit.renew, seconds=visit.seconds, pause=self._pause
        )
        # What the vault refuses to renew must not have the others renewed for ever.
        made_at = now if visit.renew else min((record.this_update for _, record in answers), default=now)
        said = self._writer.replace(visit.position, Piece(answers, made_at, place, tails, rest, refused))
        self.signed += signed
        self._on_change((), said)
        _log.debug("segment %d: %s, %d answers signed", visit.position, visit.why, signed)

    def _incomplete(self) -> int | None:
        """The first segment that is not complete up to what is wanted."""
        catalogue = self._writer.catalogue
        for position, each in enumerate(catalogue.segments):
            if not each.number or each.row < catalogue.wanted_row or each.version < catalogue.wanted_version:
                return position
        return None

    def _complete_up_to(self) -> answerable.Place:
        """Asked before the rows are read.  A register that was restored may be behind what was wanted."""
        place, wanted = answerable.place(self._reader), self._writer.catalogue
        return answerable.Place(
            max(place.row, wanted.wanted_row), place.row_id, max(place.version, wanted.wanted_version)
        )

    async def _possible(self, now: int) -> int:
        """The earliest nextUpdate that an answer of now would get; `now` while the vault does not say."""
        found = []
        try:
            for row in self._reader.all("SELECT id FROM issuers WHERE use = 'issuing'"):
                with contextlib.suppress(NoResponder):
                    found.append(await self._signer.until(row["id"], now))
        except CaError:
            return now
        return min(found, default=now)

    def _spread(self) -> float:
        return min(self.slot * 0.9, LONGEST_VISIT)

    def _next_slot(self) -> float:
        return max(each.made_at for each in self._writer.catalogue.segments) + self.slot


def _serial(segment: Segment) -> bytes:
    return serial_of(segment.start) if segment.start else b""
