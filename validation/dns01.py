"""The dns-01 challenge: a digest in a TXT record below the name.  RFC 8555 section 8.4; BR 3.2.2.4.7."""

from __future__ import annotations

import base64
import hmac

from validation.challenge import Challenge, Tools
from validation.resolver import Type
from validation.verdict import CheckFailed, Trace, printable

LABEL = "_acme-challenge"
SHOWN_OCTETS = 64


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> None:
    """Returns when one TXT record holds the digest.  Raises `CheckFailed`, `TransientError`."""
    name = f"{LABEL}.{challenge.name}"
    answer = await tools.resolver.lookup(name, Type.TXT)
    trace.add(answer.describe())
    if not answer.exists:
        raise CheckFailed("dns", f"{name} does not exist (NXDOMAIN): publish the TXT record there")
    if not answer.records:
        raise CheckFailed("unauthorized", f"{name} has no TXT record")
    expected = text_of(challenge.digest)
    texts = [text(rdata) for rdata in answer.records]
    if not any(hmac.compare_digest(found, expected) for found in texts):
        shown = printable(texts[0], SHOWN_OCTETS)
        others = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        raise CheckFailed(
            "unauthorized", f"no TXT record at {name} is the expected digest; seen {shown!r}{others}"
        )


def text_of(digest: bytes) -> bytes:
    """base64url of the key authorization's digest, without padding."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


def text(rdata: bytes) -> bytes:
    """The character-strings of a TXT RDATA, joined (RFC 1035 section 3.3.14)."""
    joined = b""
    while rdata:
        length = rdata[0]
        joined += rdata[1 : 1 + length]
        rdata = rdata[1 + length :]
    return joined
