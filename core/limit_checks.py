"""What must hold of the rate limits among the settings (core/checks.py asks).

RFC 8555 section 6.6.
"""

from __future__ import annotations

from dataclasses import fields

from core.ephemeral import LONGEST_PERIOD, MOST_COUNT
from core.refusal import wrong
from core.settings import Limits, Settings

_PERIOD = "_period"
RATES = tuple(each.name.removesuffix(_PERIOD) for each in fields(Limits) if each.name.endswith(_PERIOD))
"""The settings that are a count within a period, whose name has "_period" at its end."""

MOST = MOST_COUNT // 10
"""Some buckets hold ten times as much (acme_server/registration/rate_limits.py)."""


def undated(settings: Settings) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError`."""
    limits = settings.limits
    for name in RATES:
        count, period = getattr(limits, name), getattr(limits, name + _PERIOD)
        if count > MOST:
            raise wrong(f"limits.{name}", count, f"{MOST} at most can be counted; 0 turns the limit off")
        if period > LONGEST_PERIOD:
            raise wrong(f"limits.{name}{_PERIOD}", period, f"{LONGEST_PERIOD} s at most can be counted")
    if limits.failure_wait > limits.failure_wait_most:
        raise wrong(
            "limits.failure_wait",
            limits.failure_wait,
            f"the first wait is the shortest one: {limits.failure_wait_most} (failure_wait_most) at most",
        )
