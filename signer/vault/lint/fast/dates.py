"""The days from which pkilint's dated rules hold, and between which of them a certificate begins.

pkilint asks notBefore, never the clock, whether a rule is in force.  notBefore varies from certificate to
certificate, so every validator that reads it is run anew (profile.py).  That its *era* stands in a profile's
key is a second lock on the same door: no profile outlives a change of the rules.
"""

from __future__ import annotations

from bisect import bisect_right

RULE_DATES = (b"240315000000Z", b"240506000000Z", b"260315000000Z", b"270315000000Z", b"290315000000Z")
"""As UTCTimes.  A test compares them with the dates in the source of the pkilint that is installed."""

_UTC_TIME = 0x17
_CENTURY = b"50"
"""Two-digit years from here on are those of the last century (RFC 5280 section 4.1.2.5.1)."""

AFTER_ALL = len(RULE_DATES)


def era(not_before: bytes) -> int:
    """How many of the rules' dates have come by `not_before`, the encoding of a Time."""
    text = not_before[2:]
    if not_before[0] != _UTC_TIME:
        return AFTER_ALL  # RFC 5280 has GeneralizedTime from 2050 on; pkilint objects to it before
    return 0 if text >= _CENTURY else bisect_right(RULE_DATES, text)
