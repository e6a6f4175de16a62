"""How much one stranger, and all of them together, may ask of the pages: each worker counts for itself.

Who comes through a proxy is told apart when `acme.trusted_proxies` names it.  Requests of this machine are
bound by the sum alone.

Must never: hold back a report for what somebody else did from elsewhere, but for the sum that protects all.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from aiohttp import web

from core.addresses import canonical
from core.clock import Clock
from core.ephemeral import Rate, Spend
from core.ephemeral.memory_buckets import MemoryBuckets
from core.forwarded import Addresses


class Act(StrEnum):
    """What is counted."""

    REPORT = "report"
    PROOF = "proof"
    LOOKUP = "lookup"


FROM_ONE: Mapping[Act, Rate] = {
    Act.REPORT: Rate(30, 3600),
    Act.PROOF: Rate(30, 3600),
    Act.LOOKUP: Rate(120, 60),
}
FROM_ALL: Mapping[Act, Rate] = {
    Act.REPORT: Rate(600, 3600),
    Act.PROOF: Rate(1200, 3600),
    Act.LOOKUP: Rate(6000, 60),
}
"""A proof costs at most a few milliseconds of a core, a report a forced write, a look-up one OCSP answer."""

SITE = 4
"""So many times what a /64 of IPv6 may, all of a /48 may together: a site has 65536 of the former."""

_MOST_ADDRESSES = 1 << 16


class Bounds:
    """The buckets of one worker."""

    def __init__(self, addresses: Addresses, clock: Clock) -> None:
        self._addresses = addresses
        self._clock = clock
        self._buckets = MemoryBuckets(max_buckets=_MOST_ADDRESSES)

    async def wait(self, request: web.Request, act: Act) -> int:
        """0 when it may be done now (and is counted); else the seconds until it may."""
        now = self._clock.latest()
        spends = [Spend(act, FROM_ALL[act])]
        client = canonical(request.remote or "")
        if self._addresses.is_proxy(client):
            client = self._addresses.client(client, request.headers)
        block = self._addresses.block(client)
        if block is not None:
            spends.append(Spend(f"{act} {block}", FROM_ONE[act]))
        site = self._addresses.site(client)
        if site is not None:
            rate = FROM_ONE[act]
            spends.append(Spend(f"{act} {site}", Rate(SITE * rate.count, rate.period)))
        buckets = await self._buckets.spend(spends, now)
        return max(each.frees_at for each in buckets) - now
