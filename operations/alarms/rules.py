"""Says in the app's log what the rules of the day, and those coming, want of the settings and of the clock.

Issuance itself asks at every certificate (core/today.py); this only tells people, in time and again.
"""

from __future__ import annotations

import asyncio
import logging

from core.clock import Clock
from core.errors import HaltIssuance
from core.requirements import DAY, HOUR
from core.settings import Settings
from core.timekeeping import without_time
from core.today import Today, coming, profile_refusals

LOOK_EVERY = HOUR
"""Seconds between two looks, besides one at midnight UTC, when rules begin.  What halts is told each time."""

_log = logging.getLogger(__name__)


class RuleWatch:
    """Looks at the date while the app runs."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._today = Today(settings)
        self._warned_on = -1

    @property
    def halted(self) -> str:
        """Why nothing is issued today; "" when the rules are met."""
        try:
            return without_time(self._settings, self._clock) or self._today.refusal(self._clock.now())
        except HaltIssuance as error:
            return str(error)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self.look())

    def look(self) -> int:
        """Tell what is to be told now; the seconds until the next look."""
        try:
            now = self._clock.now()
            self._today.require(now)
            if why := without_time(self._settings, self._clock):
                raise HaltIssuance(why)
        except HaltIssuance as error:  # the clock, or the rules
            _log.critical("ISSUANCE HALTED: %s", error)
            return LOOK_EVERY
        for name, why in profile_refusals(self._settings, now).items():
            _log.critical("NOTHING IS ISSUED UNDER PROFILE %s: %s; then start the CA again", name, why)
        if now // DAY != self._warned_on:
            self._warned_on = now // DAY
            for sentence in coming(self._settings, now):
                _log.warning("%s", sentence)
        return min(LOOK_EVERY, DAY - now % DAY)
