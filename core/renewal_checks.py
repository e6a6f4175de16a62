"""What must hold between the settings of ARI (RFC 9773)."""

from __future__ import annotations

from core.refusal import wrong
from core.settings import Renewal

LEAST, MOST = 60, 86400
"""Seconds: what clients may take a shorter or longer Retry-After for (RFC 9773 section 4.3.2)."""


def undated(renewal: Renewal) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    for earliest, latest in (("earliest", "latest"), ("short_earliest", "short_latest")):
        first, last = getattr(renewal, earliest), getattr(renewal, latest)
        if not first < last <= 95:
            raise wrong(
                f"renewal.{latest}",
                last,
                f"it is a per cent of a certificate's life after renewal.{earliest} ({first}), and 95 at "
                "most: a client whose first try fails needs time",
            )
    for key in ("retry_after", "retry_after_incident"):
        value = getattr(renewal, key)
        if not LEAST <= value <= MOST:
            raise wrong(
                f"renewal.{key}", value, f"clients count {LEAST} to {MOST} s (RFC 9773 section 4.3.2)"
            )
    if renewal.retry_after_incident > renewal.retry_after:
        raise wrong(
            "renewal.retry_after_incident",
            renewal.retry_after_incident,
            f"in an incident clients ask again sooner, not later than renewal.retry_after "
            f"({renewal.retry_after})",
        )
    if renewal.max_age > renewal.retry_after_incident:
        raise wrong(
            "renewal.max_age",
            renewal.max_age,
            "a cache that holds answers longer than renewal.retry_after_incident "
            f"({renewal.retry_after_incident}) would hide an incident from who asks in time",
        )
