"""Lets a poll wait for the news instead of asking again and again.

RFC 8555 section 7.5.1 has clients poll while the server works.  An answer that is held back until the job has
moved its subject, for a moment at most, saves the client a round and the server a request (docs/adr/0006).
Only the process that runs the jobs knows of them; a poll that meets another one waits that moment in vain.

Must never: carry what changed.  Whoever was woken reads the row, which is the only truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Moved:
    """Whether a subject that is watched has moved since the watching began."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """It moved."""
        self._event.set()

    async def within(self, seconds: float) -> bool:
        """True as soon as it moved; False when it did not in so many seconds (0 does not wait)."""
        if self._event.is_set() or seconds <= 0:
            return self._event.is_set()
        try:
            async with asyncio.timeout(seconds):
                return await self._event.wait()
        except TimeoutError:
            return False


class Changes:
    """Who waits for which subject: the id of an order or of a challenge."""

    def __init__(self) -> None:
        self._watching: dict[str, set[Moved]] = {}
        self.count = 0
        """Moves announced so far."""

    @contextmanager
    def watch(self, *subjects: str, since: int | None = None) -> Iterator[Moved]:
        """Begin to watch.  Read the row after this, so that no move falls in between.

        Or read it before, and say `since` which `count`: any move since then counts as one of the subjects'.
        """
        moved = Moved()
        if since is not None and since != self.count:
            moved.set()
        for subject in subjects:
            self._watching.setdefault(subject, set()).add(moved)
        try:
            yield moved
        finally:
            for subject in subjects:
                watchers = self._watching[subject]
                watchers.discard(moved)
                if not watchers:
                    del self._watching[subject]

    def announce(self, subject: str) -> None:
        """The subject's row has moved, durably."""
        self.count += 1
        for moved in self._watching.get(subject, ()):
            moved.set()
