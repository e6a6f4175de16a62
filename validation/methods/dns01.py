"""The dns-01 challenge: a digest in a TXT record below the name.  RFC 8555 section 8.4; BR 3.2.2.4.7."""

from __future__ import annotations

from validation.challenge import Challenge, Shown, Tools
from validation.methods import txt
from validation.verdict import Trace

LABEL = "_acme-challenge"


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> Shown:
    """Returns when one TXT record holds the digest.  Raises `CheckFailed`, `TransientError`."""
    await txt.require_digest(record(challenge.name), challenge, tools, trace)
    return Shown()


def record(name: str) -> str:
    """Where the TXT record stands."""
    return f"{LABEL}.{name}"
