"""Serial numbers: drawn, never counted (BR 7.1.2.7; CPS 7.1)."""

from __future__ import annotations

from core.randomness import Randomness

RANDOM_OCTETS = 16
"""128 bits from a CSPRNG; BR 7.1.2.7 asks for 64.  No two of 2^40 certificates share one but with 2^-49."""

_PREFIX = b"\x01"
"""Makes the INTEGER positive and its encoding 17 octets long whatever is drawn (20 are allowed)."""


def draw(randomness: Randomness) -> bytes:
    """The content octets of a fresh serial number's DER INTEGER."""
    return _PREFIX + randomness.octets(RANDOM_OCTETS)
