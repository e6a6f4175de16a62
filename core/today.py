"""The settings held against the rules of the day while a CA runs, and against those that are coming.

A rule of the table (core/requirements.py) binds from its first second on, whether or not anybody starts a
process then.  So whoever issues asks `Today` each time: the answer is worked out once for each state of the
rules and costs a look-up after that.  An operator hears of a rule thirty days before.  A profile that a rule
forbids stops alone: the others go on.

Must never: read a clock; let a process end because a date has passed: status and revocation must go on.

BR 1.2.2, 3.2.2.9, 4.2.1, 6.3.2.
"""

from __future__ import annotations

from datetime import UTC, datetime

from core import checks, profile_checks
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
        since = f"from {_day(step)} on nothing can be issued"
        if refused := _refusal(settings, step):
            told.append(f"{since} with these settings: {refused}")
        for name, why in profile_refusals(settings, step).items():
            told.append(f"{since} under profile {name}: {why}")
        step = next_change(step)
    return told


def refusals(settings: Settings, at: int) -> list[str]:
    """What the settings break of the rules that bind at `at`, each with its remedy."""
    everything = _refusal(settings, at)
    return [*([everything] if everything else []), *profile_refusals(settings, at).values()]


def profile_refusals(settings: Settings, at: int) -> dict[str, str]:
    """By the name of each profile that the rules of the day forbid: why, with the remedy."""
    found = {name: profile_refusal(settings, name, at) for name in settings.profiles}
    return {name: why for name, why in found.items() if why}


def profile_refusal(settings: Settings, name: str, at: int) -> str:
    """Why the rules that bind at `at` forbid the profile `name`, with the remedy; "" when they do not."""
    try:
        profile_checks.dated(settings, name, at)
    except ConfigurationError as error:
        return str(error)
    return ""


def _refusal(settings: Settings, at: int) -> str:
    try:
        checks.dated_for_all(settings, at)
    except ConfigurationError as error:
        return str(error)
    return ""


class Today:
    """Answers for settings that do not change while a process runs; of profiles, `profile_refusal` tells."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[int, str] = {}

    def refusal(self, now: int) -> str:
        """What the settings break, whatever the profile; worked out once for each state of the rules."""
        state = newest(now)
        if state not in self._known:
            self._known[state] = _refusal(self._settings, now)
        return self._known[state]

    def require(self, now: int) -> None:
        """Raises `HaltIssuance` where the settings no longer meet the rules: a person must act."""
        if refused := self.refusal(now):
            raise HaltIssuance(f"the rules of {_day(newest(now))} bind: {refused}; then start the CA again")


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC).date()}"
