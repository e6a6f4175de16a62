"""The buckets of rate limits in the memory of the one app process.

A bucket that is full is forgotten: each spend looks at some of the longest untouched ones, so memory follows
the buckets in use.  A restart fills all of them: limits hold a flood back, they prove nothing.

Must never: grant earlier because the clock stepped back.

RFC 8555 section 6.6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from core.ephemeral import Bucket, Spend, gcra
from core.ephemeral.gcra import Key

MAX_BUCKETS = 1 << 19
"""Beyond, the longest untouched one is forgotten: who would gain by that must empty half a million others."""

LOOKED_AT = 2
"""Old buckets looked at for each one spent from: more than were added, so full ones do not pile up."""


class MemoryBuckets:
    """`Buckets` of one process.  For one thread."""

    def __init__(self, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._full: OrderedDict[Key, int] = OrderedDict()
        """When each is full (`gcra`), the longest untouched one first."""
        self._max_buckets = max_buckets
        self._latest = 0

    async def spend(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        """Take from all of these buckets or, when one has not enough, from none; how each stands."""
        after, standing = gcra.decide(self._of(spends, now), spends, now)
        for key, full in after.items():
            self._keep(key, full)
        self._forget_full(len(after) * LOOKED_AT)
        return standing

    async def look(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        """How they stand; nothing is taken."""
        return gcra.stand(self._of(spends, now), spends, now)

    async def give_back(self, spends: Sequence[Spend], now: int) -> None:
        """Undo a `spend` whose request then did nothing."""
        for each in spends:
            key = gcra.key_of(each)
            if key in self._full:
                self._keep(key, gcra.returned(self._full[key], each, now))

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._full)

    def _of(self, spends: Sequence[Spend], now: int) -> dict[Key, int]:
        # One that was forgotten became full at some time until now, and, after a step back, no earlier.
        self._latest = max(self._latest, now)
        return {
            key: self._full.get(key, gcra.units(key[1], self._latest)) for key in map(gcra.key_of, spends)
        }

    def _keep(self, key: Key, full: int) -> None:
        if full <= gcra.units(key[1], self._latest):
            self._full.pop(key, None)
            return
        self._full[key] = full
        self._full.move_to_end(key)

    def _forget_full(self, most: int) -> None:
        for _ in range(min(most, len(self._full))):
            self._keep(*self._full.popitem(last=False))
        while len(self._full) > self._max_buckets:
            self._full.popitem(last=False)
