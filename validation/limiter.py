"""How many checks run at once, in all and for one registered domain.

One slow domain must not use up the room of all others, and we are nobody's amplifier.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from core.errors import TransientError

PER_DOMAIN = 5
"""Checks at once below one registered domain (eTLD+1)."""

WAITING = 1000
"""Checks that may wait for room; beyond that the caller tries again later."""


class Limiter:
    """Room for checks.  `registered_domain` maps a name to its eTLD+1."""

    def __init__(
        self, concurrency: int, registered_domain: Callable[[str], str], per_domain: int = PER_DOMAIN
    ) -> None:
        self._all = asyncio.Semaphore(concurrency)
        self._registered_domain = registered_domain
        self._per_domain = per_domain
        self._domains: dict[str, tuple[asyncio.Semaphore, int]] = {}
        self._inside = 0
        self._most = concurrency + WAITING

    @asynccontextmanager
    async def room(self, name: str) -> AsyncIterator[None]:
        """Waits for room for one check of `name`.  Raises `TransientError` when too many wait already."""
        if self._inside >= self._most:
            raise TransientError("the perspective is busy: too many checks are waiting")
        domain = self._registered_domain(name)
        semaphore, users = self._domains.get(domain, (asyncio.Semaphore(self._per_domain), 0))
        self._domains[domain] = (semaphore, users + 1)
        self._inside += 1
        try:
            async with semaphore, self._all:
                yield
        finally:
            self._inside -= 1
            semaphore, users = self._domains[domain]
            if users == 1:
                del self._domains[domain]
            else:
                self._domains[domain] = (semaphore, users - 1)
