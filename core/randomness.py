"""Entropy, passed in, so that a test can replay a run."""

from __future__ import annotations

import base64
import os
from typing import Protocol


class Randomness(Protocol):
    """A source of unpredictable octets."""

    def octets(self, count: int) -> bytes:
        """`count` octets from a CSPRNG."""


class SystemRandomness:
    """The kernel's CSPRNG (getrandom(2))."""

    def octets(self, count: int) -> bytes:
        return os.urandom(count)


def token(randomness: Randomness, octets: int = 16) -> str:
    """An unguessable base64url name; 16 octets are the 128 bits of RFC 8555 section 11.3, 22 characters."""
    return base64.urlsafe_b64encode(randomness.octets(octets)).rstrip(b"=").decode("ascii")
