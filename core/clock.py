"""Time, passed in.  Nothing else in the house asks the operating system what time it is.

A workflow reads `now()` once.  Times are POSIX seconds (int, UTC), as X.509 and RFC 8555 resolve no finer.
"""

from __future__ import annotations

import asyncio
import ctypes
import time
from typing import Protocol

from core.errors import HaltIssuance

STEP_BACK_TOLERANCE = 1
"""Seconds. An NTP slew never goes back at all; a second absorbs the rounding between processes.

Within it `now()` stands still: no record is dated before the one that it follows."""


class ClockSteppedBack(HaltIssuance):
    """The clock shows an earlier time than one already recorded."""


class Clock(Protocol):
    """What a room needs of time."""

    def now(self) -> int:
        """POSIX seconds, UTC, never falling.  Raises `ClockSteppedBack` when a time seen is still to come."""

    def latest(self) -> int:
        """`now()`; where that would raise, the latest time seen: it stands still until the clock is there.

        For what must go on at any hour and makes no certificate: revocations, and what tells of them
        (BR 4.9.3, 4.10.2).
        """

    def observe(self, at: int) -> None:
        """Take a durable record's time as already seen: `now()` may not be earlier."""

    def monotonic(self) -> float:
        """Seconds for measuring spans; unrelated to the time of day."""

    def synchronised(self) -> bool:
        """Whether the kernel says that a time service disciplines the clock (adjtimex(2))."""


class SystemClock:
    """The operating system's clock, which halts issuance when it steps back."""

    def __init__(self) -> None:
        self._latest = 0

    def now(self) -> int:
        at = int(time.time())
        if at < self._latest - STEP_BACK_TOLERANCE:
            raise ClockSteppedBack(
                f"the clock went back by {self._latest - at} s: issuance stops until it passes "
                f"{self._latest} again; set the clock right and see that a time service runs"
            )
        self._latest = max(self._latest, at)
        return self._latest

    def latest(self) -> int:
        try:
            return self.now()
        except ClockSteppedBack:
            return self._latest

    def observe(self, at: int) -> None:
        self._latest = max(self._latest, at)

    def monotonic(self) -> float:
        return time.monotonic()

    def synchronised(self) -> bool:
        libc = ctypes.CDLL(None, use_errno=True)
        # struct timex is at most 208 bytes on Linux; modes = 0 only reads.
        return int(libc.adjtimex(ctypes.create_string_buffer(256))) not in (-1, 5)  # 5 = TIME_ERROR


class FakeClock:
    """A clock that a test turns by hand; it refuses to go back like the real one."""

    def __init__(self, at: int, *, synchronised: bool = True) -> None:
        self.at = at
        self._latest = at
        self._synchronised = synchronised

    def now(self) -> int:
        if self.at < self._latest - STEP_BACK_TOLERANCE:
            raise ClockSteppedBack(f"the clock went back by {self._latest - self.at} s")
        self._latest = max(self._latest, self.at)
        return self._latest

    def latest(self) -> int:
        try:
            return self.now()
        except ClockSteppedBack:
            return self._latest

    def observe(self, at: int) -> None:
        self._latest = max(self._latest, at)

    def monotonic(self) -> float:
        return float(self.at)

    def synchronised(self) -> bool:
        return self._synchronised


async def keep_time(clock: Clock) -> None:
    """See the time go by, for ever: processes that do little would else stand still at different times."""
    while True:
        clock.latest()
        await asyncio.sleep(1)
