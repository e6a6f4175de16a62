"""When a certificate should be renewed: the suggestedWindow of ARI (RFC 9773 section 4.2).

A window follows from the certificate alone: its life and its serial number, and the incident that it is part
of.  So it is the same for whoever asks and whenever, a cache may hold it, and a fleet that was certified in
one minute is renewed over days.

Must never: be empty or end before it begins; use chance or the time of the request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from core.settings import Renewal

PART_OF_SPAN = 4
"""A window is a quarter of the span in which all of them lie: clients that wake twice a day meet it."""

PART_OF_INCIDENT = 8
"""In an incident it is an eighth of the time there is."""

PART_LEFT = 10
"""In an incident the last tenth of the time is left free, for those whose first try fails."""

BEFORE_REVOCATION = 3600
"""Seconds: a revoked certificate's window is so long, and ended so long before its revocation.  A client's
clock may be somewhat slow, and still finds it in the past (section 6)."""


@dataclass(frozen=True, slots=True)
class Window:
    """POSIX seconds; `end` is after `start`."""

    start: int
    end: int


def of_life(serial: bytes, not_before: int, not_after: int, settings: Renewal) -> Window:
    """The window by a fraction of the certificate's life, at a place of its own within the span for all."""
    life = not_after - not_before + 1
    earliest, latest = settings.earliest, settings.latest
    if life <= settings.short_life:
        earliest, latest = settings.short_earliest, settings.short_latest
    first, last = not_before + life * earliest // 100, not_before + life * latest // 100
    return _placed(serial, b"", first, last, (last - first) // PART_OF_SPAN)


def of_incident(serial: bytes, incident_id: str, added_at: int, renew_by: int) -> Window:
    """The window of a certificate that was put into an incident at `added_at` and must go by `renew_by`."""
    time = max(1, renew_by - added_at)
    last = added_at + time - time // PART_LEFT
    return _placed(serial, incident_id.encode(), added_at, last, time // PART_OF_INCIDENT)


def of_revoked(revoked_at: int) -> Window:
    """A window in the past (section 1: renew now)."""
    return Window(revoked_at - 2 * BEFORE_REVOCATION, revoked_at - BEFORE_REVOCATION)


def _placed(serial: bytes, salt: bytes, first: int, last: int, width: int) -> Window:
    """A window of `width` seconds in `first` to `last`, where the serial's hash puts it."""
    width = max(1, width)
    places = max(1, last - first - width + 1)
    # 64 bits of a hash: the places are evenly filled, whatever the serial numbers look like.
    number = int.from_bytes(hashlib.sha256(salt + serial).digest()[:8], "big")
    start = first + (number * places >> 64)
    return Window(start, start + width)
