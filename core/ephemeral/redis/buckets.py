"""The buckets of rate limits that many fronts share: all buckets of a request in one step.

The arithmetic is that of `gcra`, in whole numbers that Lua's doubles hold exactly; Redis decides, and the
same code as in memory says how the buckets stand.  The time is the asking front's; Redis' own clock only
measures how long a key stays, which is until its bucket is full.  A Redis that lost its data has full
buckets: limits hold a flood back, they prove nothing.

Must never: take from one bucket of a request and not from another.

RFC 8555 section 6.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.ephemeral import Bucket, Spend, gcra
from core.ephemeral.gcra import Key
from core.ephemeral.redis.server import Server

# KEYS are the buckets.  ARGV[1] is now; then count, period and cost of each.
_COMMON = """
local now = tonumber(ARGV[1])
local function rate(i)
  return tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
end
local function kept(key)
  return tonumber(redis.call('GET', key) or 0)
end
local function keep(key, full, count)
  local lacking = full - now * count
  if lacking > 0 then
    redis.call('SET', key, string.format('%.0f', full), 'EX', math.ceil(lacking / count))
  else
    redis.call('DEL', key)
  end
end
"""

# Returns what each bucket was before, as text: Lua's own numbers would come back cut to 14 digits.
_SPEND = (
    _COMMON
    + """
local before, after, counts, granted = {}, {}, {}, true
for i, key in ipairs(KEYS) do
  local count, period, cost = rate(i)
  local full = kept(key)
  before[i] = string.format('%.0f', full)
  full = math.max(after[key] or full, now * count)
  granted = granted and full - now * count + math.max(cost, 1) * period <= count * period
  after[key], counts[key] = full + cost * period, count
end
if granted then
  for key, full in pairs(after) do keep(key, full, counts[key]) end
end
return before
"""
)

_GIVE_BACK = (
    _COMMON
    + """
for i, key in ipairs(KEYS) do
  local count, period, cost = rate(i)
  keep(key, kept(key) - cost * period, count)
end
"""
)

_LOOK = "return redis.call('MGET', unpack(KEYS))"


class RedisBuckets:
    """`Buckets` of all fronts that have the same Redis and prefix.  For one event loop."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = f"{{{prefix}}}:bucket:"  # the braces keep all keys in one slot of a cluster

    async def spend(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        """Take from all of these buckets or, when one has not enough, from none; how each stands."""
        return gcra.decide(await self._before(_SPEND, spends, now), spends, now)[1]

    async def look(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        """How they stand; nothing is taken."""
        return gcra.stand(await self._before(_LOOK, spends, now), spends, now)

    async def give_back(self, spends: Sequence[Spend], now: int) -> None:
        """Undo a `spend` whose request then did nothing."""
        await self._run(_GIVE_BACK, spends, now)

    async def _before(self, script: str, spends: Sequence[Spend], now: int) -> dict[Key, int]:
        """What the buckets were when the script began."""
        kept = await self._run(script, spends, now)
        return {gcra.key_of(each): int(full or 0) for each, full in zip(spends, kept, strict=True)}

    async def _run(self, script: str, spends: Sequence[Spend], now: int) -> Any:
        if not spends:
            return []
        keys = [f"{self._prefix}{each.rate.count}/{each.rate.period}:{each.key}" for each in spends]
        arguments = [now]
        for each in spends:
            arguments += each.rate.count, each.rate.period, each.cost
        return await self._server.run(script, keys, arguments)
