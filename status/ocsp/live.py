"""How many signatures strangers may have made while they wait: for one address, and for all.

An answer that lies ready costs nothing.  One that does not (a serial number asked about for the first time,
several certificates in one request) makes the vault sign, and who asks needs no account.  Beyond the bound
the answer is tryLater.

Must never: count a question whose answer lies ready.

RFC 9919 section 8.4 (denial of service); RFC 6960 section 2.3 (tryLater).
"""

from __future__ import annotations

from core.clock import Clock
from core.ephemeral import Rate, Spend
from core.ephemeral.memory_buckets import MemoryBuckets
from core.errors import TransientError
from core.settings import Limits


class LiveSignatures:
    """The bound of one process.  A rate of 0 is none."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._buckets = MemoryBuckets()
        self._clock = clock
        self._all = _rate(limits.ocsp_signatures, limits.ocsp_signatures_period)
        self._address = _rate(limits.ocsp_signatures_address, limits.ocsp_signatures_address_period)

    async def take(self, asker: str | None) -> None:
        """One signature for `asker`, a block of addresses (`core.addresses`); None counts for all only.

        Raises: `TransientError`, and nothing is taken.
        """
        spends = []
        if asker is not None and self._address is not None:
            spends.append(Spend(f"address:{asker}", self._address))
        if self._all is not None:
            spends.append(Spend("all", self._all))
        now = self._clock.latest()
        stands = await self._buckets.spend(spends, now)
        if any(each.frees_at > now for each in stands):
            whose = asker if spends[0].key != "all" and stands[0].frees_at > now else "all addresses together"
            raise TransientError(
                f"more signatures were asked for by {whose} than limits.ocsp_signatures permits"
            )


def _rate(count: int, period: int) -> Rate | None:
    return Rate(count, period) if count else None
