"""How many checks run at once: in all, for one account, below one registered domain, at one network.

One slow domain must not use up the room of all others, and we are nobody's amplifier: who orders for a
thousand names of a victim has no more than a few connections to him at any moment.

Places are taken in one order, account, account and domain, domain, room in all, and last of all the network
(by the dialer, which alone knows the address); whoever waits for one holds only earlier ones, so nobody waits
for each other.

The coordinator limits what it asks, and a perspective, which trusts nobody, what it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager

from core.errors import TransientError

PER_ACCOUNT = 20
"""Checks at once for one account: a tenth of all room, and an order of a hundred names is soon done."""

PER_DOMAIN = 5
"""Checks at once below one registered domain (eTLD+1): what a small web server does not notice."""

PER_ACCOUNT_AND_DOMAIN = 3
"""Of those, how many one account holds: whoever orders for names of another's domain leaves him room."""

PER_NETWORK = 5
"""Connections at once to one network (/24 of IPv4, /48 of IPv6), whatever names lead there."""

WAITING = 1000
"""Checks that may wait for room; beyond that the caller tries again later."""

PERSPECTIVE_PATIENCE = 3.0
"""Seconds that a check waits for room at a perspective: it then takes 12 s, and the coordinator waits 15."""

COORDINATOR_PATIENCE = 2.0
"""Seconds that a check waits at the coordinator.  Then its job goes back into the queue, so that the many
names of one account do not hold the places of the job runner."""


class Places:
    """At most `most` holders of each key at once; a key that nobody holds or waits for is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: dict[Hashable, tuple[asyncio.Semaphore, int]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    @asynccontextmanager
    async def place(self, key: Hashable) -> AsyncIterator[None]:
        """Waits for a place of `key`."""
        semaphore, users = self._keys.get(key) or (asyncio.Semaphore(self._most), 0)
        self._keys[key] = (semaphore, users + 1)
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._keys[key]
            if users == 1:
                del self._keys[key]
            else:
                self._keys[key] = (semaphore, users - 1)


class Limiter:
    """Room for checks.  `registered_domain` maps a name to its eTLD+1; `patience` in seconds."""

    def __init__(
        self,
        concurrency: int,
        registered_domain: Callable[[str], str],
        per_domain: int = PER_DOMAIN,
        per_account: int = PER_ACCOUNT,
        per_account_and_domain: int = PER_ACCOUNT_AND_DOMAIN,
        patience: float = PERSPECTIVE_PATIENCE,
    ) -> None:
        self._all = asyncio.Semaphore(concurrency)
        self._registered_domain = registered_domain
        self._domains = Places(per_domain)
        self._accounts = Places(per_account)
        self._pairs = Places(per_account_and_domain)
        self._patience = patience
        self._inside = 0
        self._most = concurrency + WAITING

    @asynccontextmanager
    async def room(self, name: str, account: str = "") -> AsyncIterator[None]:
        """Waits for room for one check of `name`; `account` is "" for a caller that has none.

        Raises `TransientError` when too many wait already, or no room is free in time.
        """
        if self._inside >= self._most:
            raise TransientError("busy: too many checks are waiting")
        self._inside += 1
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(self._patience):
                        domain = self._registered_domain(name)
                        if account:
                            await held.enter_async_context(self._accounts.place(account))
                            await held.enter_async_context(self._pairs.place((account, domain)))
                        await held.enter_async_context(self._domains.place(domain))
                        await held.enter_async_context(self._all)
                except TimeoutError as error:
                    raise TransientError(
                        f"busy: no room for a check within {self._patience:.0f} s, so many run for this "
                        "account, domain, or in all"
                    ) from error
                yield
        finally:
            self._inside -= 1
