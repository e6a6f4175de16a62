"""The generic cell rate algorithm: when a bucket is full again is all that one must remember of it.

The arithmetic is in whole numbers, so that memory and Redis (whose Lua counts in doubles) agree to the unit:
time is counted in 1/`count` seconds, in which one request costs `period` and a whole bucket
`count * period`.  What is kept of a bucket is `full`, the time at which it is full, in these units; one of
which nothing is kept is full.

Must never: grant more than `count` + t * `count` / `period` requests in any t seconds.

RFC 8555 section 6.6; ITU-T I.371 (the algorithm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.ephemeral import Bucket, Rate, Spend

Key = tuple[str, Rate]
"""A bucket.  With another rate it is another one, and full: an override helps at once."""


def key_of(spend: Spend) -> Key:
    """The bucket that is spent from."""
    return spend.key, spend.rate


def units(rate: Rate, at: int) -> int:
    """The POSIX time `at` in the units of this rate: below 2**53 for every `Rate` until the year 2200."""
    return at * rate.count


def taken(full: int, spend: Spend, now: int) -> int:
    """When the bucket is full once the spend is granted, in units."""
    return max(full, units(spend.rate, now)) + spend.cost * spend.rate.period


def returned(full: int, spend: Spend, now: int) -> int:
    """The same once the spend is undone; nothing is fuller than full."""
    return max(full - spend.cost * spend.rate.period, units(spend.rate, now))


def decide(full: Mapping[Key, int], spends: Sequence[Spend], now: int) -> tuple[dict[Key, int], list[Bucket]]:
    """What to keep of each bucket if all of the spends can be granted, else {}; and how they stand then."""
    after: dict[Key, int] = {}
    free = []
    for each in spends:
        before = after.get(key_of(each), full.get(key_of(each), 0))
        free.append(_frees_at(before, each, now))
        after[key_of(each)] = taken(before, each, now)
    if any(at > now for at in free):
        after = {}
    standing = {**full, **after}
    return after, [
        _bucket(standing.get(key_of(each), 0), each.rate, at, now)
        for each, at in zip(spends, free, strict=True)
    ]


def stand(full: Mapping[Key, int], spends: Sequence[Spend], now: int) -> list[Bucket]:
    """How the buckets stand, each by itself."""
    found = ((each, full.get(key_of(each), 0)) for each in spends)
    return [_bucket(kept, each.rate, _frees_at(kept, each, now), now) for each, kept in found]


def _bucket(full: int, rate: Rate, frees_at: int, now: int) -> Bucket:
    lacking = max(full - units(rate, now), 0)
    remain = max(rate.count * rate.period - lacking, 0) // rate.period
    return Bucket(remain, frees_at, now + _up(lacking, rate.count))


def _frees_at(full: int, spend: Spend, now: int) -> int:
    rate = spend.rate
    lacking = max(full - units(rate, now), 0)
    asked = max(spend.cost, 1) * rate.period
    return now + _up(max(lacking + asked - rate.count * rate.period, 0), rate.count)


def _up(value: int, by: int) -> int:
    return -(-value // by)
