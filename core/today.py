"""The settings held against the rules of the day while a CA runs, and against those that are coming.

A rule of the table (core/requirements.py) binds from its first second on, whether or not anybody starts a
process then.  So whoever issues asks `Today` each time: the answer is worked out once for each state of the
rules and costs a look-up after that.  An operator hears of a rule thirty days before.

Must never: read a clock; let a process end because a date has passed: status and revocation must go on.

BR 1.2.2, 3.2.2.9, 4.2.1, 6.3.2.
"""

from __future__ import annotations

from datetime import UTC, datetime

from core import checks
from core.errors import ConfigurationError, HaltIssuance
from core.requirements import DAY, newest, next_change
from core.settings import Settings

NOTICE = 30 * DAY
"""Seconds before a rule binds in which settings that cannot meet it are warned of: a perspective in another
part of the world is not found in a week."""


def coming(settings: Settings, at: int) -> list[str]:
    """A sentence for each date within `NOTICE` from which the settings cannot be used; `at` POSIX seconds.

    Settings that cannot be used at `at` are another matter (`Today`).
    """
    told = []
    step = next_change(at)
    while step is not None and step <= at + NOTICE:
        if refused := refusal(settings, step):
            told.append(f"from {_day(step)} on nothing can be issued with these settings: {refused}")
        step = next_change(step)
    return told


def refusal(settings: Settings, at: int) -> str:
    """What the settings break of the rules that bind at `at`, with the remedy; "" when nothing."""
    try:
        checks.dated(settings, at)
    except ConfigurationError as error:
        return str(error)
    return ""


class Today:
    """Answers for settings that do not change while a process runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[int, str] = {}

    def refusal(self, now: int) -> str:
        """As the function of that name, worked out once for each state of the rules."""
        state = newest(now)
        if state not in self._known:
            self._known[state] = refusal(self._settings, now)
        return self._known[state]

    def require(self, now: int) -> None:
        """Raises `HaltIssuance` where the settings no longer meet the rules: a person must act."""
        if refused := self.refusal(now):
            raise HaltIssuance(f"the rules of {_day(newest(now))} bind: {refused}; then start the CA again")


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC).date()}"
