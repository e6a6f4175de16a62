"""notBefore and notAfter of an order: honoured to the second, or refused (RFC 8555 section 7.4).

The certificate begins and ends exactly when the order says; what the order leaves open, the profile fixes.
The vault judges the same bounds again when it signs (signer/vault/templates/profiles.py).

Must never: move a time that was asked for.

RFC 3339 section 5.6; BR 6.3.2, 7.1.2.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from acme_server.exchange import text
from acme_server.problems import ErrorType, malformed, refusal
from acme_server.resources import timestamp
from core.methods import ISSUANCE
from core.requirements import HOUR
from signer.drawing import BACKDATE

SKEW = 48 * HOUR
"""Seconds between notBefore and the signing at most (BR 7.1.2.7)."""

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?P<fraction>\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_MEMBERS = ("notBefore", "notAfter")


@dataclass(frozen=True, slots=True)
class Wish:
    """What an order asks for, POSIX seconds; None where it leaves the time to the profile."""

    not_before: int | None = None
    not_after: int | None = None


def read(members: Mapping[str, Any]) -> Wish:
    """The times in a newOrder payload.  Raises `Problem` (malformed)."""
    return Wish(*(_instant(text(members, each), each) if each in members else None for each in _MEMBERS))


def must_hold(wish: Wish, profile: str, validity: int, now: int, *, named: bool = True) -> None:
    """Issued at `now`, a certificate would be as wished, under a profile with `validity` seconds.

    Asked at newOrder, at finalize and before issuance: what is too late by then is refused, never shifted.
    Raises `Problem`: malformed; invalidProfile when the profile, which the order `named`, is too short.
    """
    begins = wish.not_before
    earliest, latest = now - SKEW + ISSUANCE, now + SKEW
    if begins is not None and not earliest <= begins <= latest:
        raise malformed(
            f"notBefore must lie between {timestamp(earliest)} and {timestamp(latest)}, within 48 hours of "
            "the issuance: place a new order, or leave it out"
        )
    if wish.not_after is None:
        return
    if wish.not_after <= max(now, begins or now):
        raise malformed(
            "notAfter must lie after notBefore and in the future: place a new order with a later one"
        )
    first = now - BACKDATE if begins is None else begins
    last = first + validity - 1  # both ends count (BR 6.3.2)
    if wish.not_after > last:
        raise refusal(
            ErrorType.INVALID_PROFILE if named else ErrorType.MALFORMED,
            f"profile {profile!r} allows {validity} s, which end at {timestamp(last)}: ask for no later "
            "notAfter",
        )


def _instant(value: str, name: str) -> int:
    found = _RFC_3339.fullmatch(value)
    try:
        if found is None:
            raise ValueError
        at = datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise malformed(f"{name} must be a date-time of RFC 3339, like 2027-01-31T00:00:00Z") from error
    if int((found["fraction"] or ".0")[1:]):
        raise malformed(f"{name} must be a whole second: a certificate knows no fractions")
    return int(at.replace(microsecond=0).timestamp())
