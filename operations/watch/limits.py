"""From when on something is wrong: numbers of the rules, and margins in which people can still act.

A monitor that speaks up at the last second is no help: most incidents of stale status began at a weekend.
"""

from __future__ import annotations

HOUR, DAY = 3600, 86400

CLOCKS_DIFFER = 300
"""Seconds that a thisUpdate may lie ahead of our clock."""

CRL_AGE = 7 * DAY
"""BR 4.9.7: a new CRL at least every seven days."""

CRL_AGE_WARNING = 26 * HOUR
"""This CA makes one a day; two hours more for a slow night."""

CRL_VALIDITY = 10 * DAY
"""BR 4.9.7: nextUpdate at most ten days after thisUpdate."""

ROOT_CRL_VALIDITY = 366 * DAY
"""BR 4.9.7, for lists of CA certificates: twelve months."""

ROOT_CRL_MARGIN = 30 * DAY
"""Ceremonies take weeks."""

MARGIN = 8 * HOUR
"""BR 4.9.10: an answer valid for 16 hours or more is renewed eight hours before its end."""

THIRD = 3
"""A warning when less than a third of the life of a CRL or an answer is left."""

OCSP_AGE = 4 * DAY
"""BR 4.9.10: renewed at least every four days."""

OCSP_VALIDITY = 10 * DAY
OCSP_VALIDITY_LEAST = 8 * HOUR
"""BR 4.9.10."""

RESPONDER_MARGIN = 2 * DAY
"""The vault renews its responders a week before their end."""

REVOCATION_SEEN = 3600
"""Seconds until a revocation is public, wherever one looks; this CA promises a minute."""

TEST_SITE_MARGIN = 5 * DAY
"""Sites are renewed at two thirds of their certificates' life at the latest."""

ISSUER_MARGIN = 90 * DAY
MANIFEST_MARGIN = 2 * HOUR
PAGE_OCTETS = 4 << 20
CRL_OCTETS = 64 << 20
OCSP_OCTETS = 64 << 10


def about(seconds: float) -> str:
    """A span as people say it."""
    for size, word in ((DAY, "d"), (HOUR, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {word}"
    return f"{seconds:.0f} s"
