"""Short-lived state: nonces that are good exactly once, and the buckets of rate limits.

It lives in the memory of the one app process, or in Redis where several processes or hosts serve;
operations/wiring.py chooses, and one test suite runs against both (docs/adr/0021).

Must never: be asked inside of a database transaction, since a home may be across a network; let a nonce be
used twice, whatever its home has lost.

RFC 8555 sections 6.5, 6.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MOST_COUNT = 1_000_000
LONGEST_PERIOD = 366 * 86400
"""With these, the units of `gcra` are exact in the doubles of Redis' Lua."""


class Nonces(Protocol):
    """Issues nonces and consumes each of them once (RFC 8555 section 6.5)."""

    async def issue(self) -> str:
        """A fresh nonce, base64url.  Raises `TransientError` when its home cannot be reached."""

    async def consume(self, nonce: str) -> bool:
        """True the first time that a nonce of ours comes back, False for every other string.

        Raises `TransientError` when its home cannot be reached: nobody knows then, and nothing is served.
        """


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests in `period` seconds, all of them at once if one likes: they come back evenly.

    Raises `ValueError` for what a home could not count: at most `MOST_COUNT` in `LONGEST_PERIOD`.
    """

    count: int
    period: int

    def __post_init__(self) -> None:
        if not (0 < self.count <= MOST_COUNT and 0 < self.period <= LONGEST_PERIOD):
            raise ValueError(f"{self.count} in {self.period} s: at most {MOST_COUNT} in {LONGEST_PERIOD} s")


@dataclass(frozen=True, slots=True)
class Spend:
    """`cost` requests of the bucket `key`, which fills by `rate`.  Another rate is another bucket.

    A cost of 0 takes nothing and is granted when one request is free.  Raises `ValueError` for a cost above
    `rate.count`, which could never be granted.
    """

    key: str
    rate: Rate
    cost: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.cost <= self.rate.count:
            raise ValueError(f"{self.key}: {self.cost} can never be taken from a bucket of {self.rate.count}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """How a bucket stands: requests that `remain`, and when the asked ones (at least one) were or are free.

    `frees_at` and `full_at` are POSIX seconds, rounded up; `frees_at` is now when they are free, or were
    until they were taken.
    """

    remain: int
    frees_at: int
    full_at: int


class Buckets(Protocol):
    """The buckets of the generic cell rate algorithm: one number for a key, and none when it is full."""

    async def spend(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        """Take from all of these buckets or, when one has not enough, from none; how each stands, in order.

        It was refused when a bucket's `frees_at` is after `now`.  Raises `TransientError`.
        """

    async def look(self, spends: Sequence[Spend], now: int) -> Sequence[Bucket]:
        """How they stand; nothing is taken.  Raises `TransientError`."""

    async def give_back(self, spends: Sequence[Spend], now: int) -> None:
        """Undo a `spend` whose request then did nothing, at once: what the bucket has gained since is given
        twice.  Raises `TransientError`."""
