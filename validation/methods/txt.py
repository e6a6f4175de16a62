"""TXT records: the look-up and the comparison that the DNS methods share.

RFC 8555 section 8.4; RFC 1035 section 3.3.14; BR 3.2.2.4.7, 3.2.2.4.21, 3.2.2.4.22.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from dataclasses import dataclass

from validation.challenge import Challenge, Tools
from validation.dns.asking import ask
from validation.dns.dns_message import joined
from validation.dns.resolver import Answer, Type
from validation.verdict import CheckFailed, Trace, printable

CHECK_SECONDS = 8.0
"""Two tries of the resolver fit in; a zone that takes longer is not there for its visitors either."""

SHOWN_OCTETS = 64


@dataclass(frozen=True, slots=True)
class Texts:
    """The TXT records at a name or where its CNAMEs lead: at least one, each with its strings joined.

    `ttl` in seconds is the least of records and CNAMEs.
    """

    values: tuple[bytes, ...]
    ttl: int


async def lookup(name: str, tools: Tools, trace: Trace) -> Texts:
    """The TXT records of `name`.

    Raises: `CheckFailed` "dns" when the DNS gives no answer or has no such name, "unauthorized" when the name
    has no TXT record; `TransientError` for a fault of ours.
    """
    answer = await visit(name, tools, trace)
    trace.add(answer.describe())
    if not answer.exists:
        raise CheckFailed("dns", f"{name} does not exist (NXDOMAIN): publish the TXT record there")
    if not answer.records:
        raise CheckFailed("unauthorized", f"{name} has no TXT record: publish it there")
    return Texts(tuple(map(joined, answer.records)), answer.ttl)


async def visit(name: str, tools: Tools, trace: Trace) -> Answer:
    """The answer for TXT at `name`, be it none.  Raises `CheckFailed` "dns", `TransientError`."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await ask(tools.resolver, name, Type.TXT, trace)
    except TimeoutError as error:
        raise CheckFailed("dns", f"looking up TXT for {name}: no answer in {CHECK_SECONDS:.0f} s") from error


async def require_digest(name: str, challenge: Challenge, tools: Tools, trace: Trace) -> None:
    """Returns when one TXT record of `name` holds the challenge's digest.  Raises: as `lookup`."""
    texts = (await lookup(name, tools, trace)).values
    expected = text_of(challenge.digest)
    if not any(hmac.compare_digest(found, expected) for found in texts):
        seen = f'"{printable(texts[0], SHOWN_OCTETS)}"' + (
            f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        )
        raise CheckFailed(
            "unauthorized", f"no TXT record at {name} is the expected digest {expected.decode()}; seen {seen}"
        )


def text_of(digest: bytes) -> bytes:
    """base64url of the key authorization's digest, without padding."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=")
