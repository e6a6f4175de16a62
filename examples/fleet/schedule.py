"""When to renew each certificate of a large fleet: as its CA asks for (ARI, RFC 9773).

Free of network, clock and files, so that it fits in front of any ACME client: tell it what the CA answered,
ask it what is due.  Times are POSIX seconds; `chance` gives numbers from 0 to 1, like `random.random`.

What keeps thousands of certificates from falling in step: the first questions after a start are spread over
hours, the second ones over the CA's Retry-After, and each later one comes a little after that, by another
little; the time of a renewal is uniform in its window; tries that failed wait longer each time, by another
while; and no more begin at once than the caller wants, even when all windows have passed.

Must never: ask sooner than Retry-After; renew before the chosen time.

RFC 9773 sections 4.2 and 4.3.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FIRST_QUESTIONS = 6 * 3600
"""Seconds over which the first questions are spread."""

LEAST_WAIT, MOST_WAIT = 60, 86400
"""Seconds: whatever Retry-After says, ask no sooner and no later (section 4.3.2)."""

LATER_BY = 0.1
"""Of Retry-After, at most: questions of one moment drift apart."""

FIRST_RETRY = 300
"""Seconds until a renewal that failed is tried again; twice as long each time, up to `MOST_WAIT`."""

FALLBACK_SPREAD = 86400
"""Seconds over which renewals are spread whose CA has never named a window."""


@dataclass(slots=True, eq=False)
class Certificate:
    """One of the fleet.  `cert_id`, its name by section 4.1, is asked for, and is what `replaces` says."""

    name: str
    cert_id: str
    ask_at: int
    renew_at: int
    window: tuple[int, int] | None = None
    failures: int = 0


class Schedule:
    """What is due, the longest due first."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._fleet: dict[str, Certificate] = {}
        self._questions: list[tuple[int, int, Certificate]] = []
        self._renewals: list[tuple[int, int, Certificate]] = []
        """Heaps by time; the number keeps certificates from being compared."""
        self._number = itertools.count()

    def add(self, name: str, cert_id: str, otherwise: int, now: int) -> None:
        """The certificate in use for `name`.  `otherwise` is when to renew if the CA never says."""
        renew_at = otherwise + round(self._chance() * FALLBACK_SPREAD)
        known = self._fleet[name] = Certificate(name, cert_id, now, renew_at)
        self._ask(known, now + round(self._chance() * FIRST_QUESTIONS))
        self._renew(known, renew_at)

    def questions(self, now: int) -> list[Certificate]:
        """Whose renewalInfo is to be asked for; tell `answered` or `unanswered` of each."""
        due = []
        while self._questions and self._questions[0][0] <= now:
            at, _, each = heapq.heappop(self._questions)
            if at == each.ask_at and self._fleet.get(each.name) is each:
                due.append(each)
        return due

    def answered(self, asked: Certificate, start: int, end: int, retry_after: int, now: int) -> None:
        """The suggestedWindow and the Retry-After of an answer; an empty window is no answer."""
        if end <= start:
            self.unanswered(asked, now)
            return
        # The first wait spreads the fleet over the whole time between two questions, whatever that is.
        spread = self._chance() * (1.0 if asked.window is None else LATER_BY)
        if asked.window != (start, end):
            asked.window = (start, end)
            if not asked.failures:
                self._renew(asked, max(now, start + round(self._chance() * (end - start))))
        wait = min(max(retry_after, LEAST_WAIT), MOST_WAIT)
        self._ask(asked, now + round(wait * (1 + spread)))

    def unanswered(self, asked: Certificate, now: int) -> None:
        """The CA did not answer, or not with a window: what it said before holds on (section 4.3.3)."""
        self._ask(asked, now + round(FIRST_QUESTIONS * (1 + self._chance()) / 2))

    def renewals(self, now: int, most: int) -> list[Certificate]:
        """What is to be renewed, `most` at once; tell `renewed` or `failed` of each before asking again."""
        due: list[Certificate] = []
        while self._renewals and self._renewals[0][0] <= now and len(due) < most:
            at, _, each = heapq.heappop(self._renewals)
            if at == each.renew_at and self._fleet.get(each.name) is each:
                due.append(each)
        return due

    def renewed(self, old: Certificate, cert_id: str, otherwise: int, now: int) -> None:
        """There is a new certificate for the name."""
        self.add(old.name, cert_id, otherwise, now)

    def failed(self, tried: Certificate, now: int) -> None:
        """The renewal failed, and is to be tried again."""
        wait = min(FIRST_RETRY << min(tried.failures, 16), MOST_WAIT)
        tried.failures += 1
        self._renew(tried, now + round(wait * (1 + self._chance()) / 2))

    def next_at(self) -> int | None:
        """When something may be due next; None for a fleet without certificates."""
        return min((heap[0][0] for heap in (self._questions, self._renewals) if heap), default=None)

    def __iter__(self) -> Iterator[Certificate]:
        """All certificates in use."""
        return iter(self._fleet.values())

    def _ask(self, each: Certificate, at: int) -> None:
        each.ask_at = at
        heapq.heappush(self._questions, (at, next(self._number), each))

    def _renew(self, each: Certificate, at: int) -> None:
        each.renew_at = at
        heapq.heappush(self._renewals, (at, next(self._number), each))
