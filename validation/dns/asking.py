"""A look-up that leaves its fact: what was asked, what came back, how long it took.

Must never: name the resolver that answered, which is ours and nobody else's business.
"""

from __future__ import annotations

import asyncio

from core.facts import Dnssec, Lookup
from validation.dns.dns_message import address_text, joined
from validation.dns.resolver import Answer, Fault, LookupFailure, Resolver, Type
from validation.verdict import Trace, printable

SHOWN_RECORDS = 4
SHOWN_OCTETS = 80
"""Of one record: a digest of ours has 43, and who published something else knows it by its beginning."""

SHOWN_ALIASES = 12
SHOWN_FAILURE = 200
NO_TIME = "no answer in the time that the check had left"


async def ask(resolver: Resolver, name: str, type: Type, trace: Trace) -> Answer:
    """`resolver.lookup`, whose fact then stands in `trace`.  Raises: as `Resolver.lookup`."""
    now = asyncio.get_running_loop().time
    began = now()
    try:
        answer = await resolver.lookup(name, type)
    except LookupFailure as error:
        dnssec = Dnssec.BOGUS if error.fault is Fault.BOGUS else Dnssec.UNKNOWN
        trace.lookups.append(_failed(name, type, now() - began, dnssec, error.detail))
        raise
    except asyncio.CancelledError:
        trace.lookups.append(_failed(name, type, now() - began, Dnssec.UNKNOWN, NO_TIME))
        raise
    trace.lookups.append(
        Lookup(
            name,
            type,
            round(1000 * (now() - began)),
            Dnssec.SECURE if answer.authenticated else Dnssec.INSECURE,
            answer.exists,
            len(answer.records),
            answer.ttl,
            answer.chain and answer.chain[:SHOWN_ALIASES],
            _shown(answer),
        )
    )
    return answer


def _failed(name: str, type: Type, seconds: float, dnssec: Dnssec, why: str) -> Lookup:
    return Lookup(name, type, round(1000 * seconds), dnssec, failure=printable(why, SHOWN_FAILURE))


def _shown(answer: Answer) -> tuple[str, ...]:
    """The first records in short.  Those of CAA are in the statement, whole."""
    if answer.type is Type.CAA or not answer.records:
        return ()
    first = answer.records[:SHOWN_RECORDS]
    if answer.type is Type.TXT:
        return tuple(printable(joined(rdata), SHOWN_OCTETS) for rdata in first)
    return tuple(map(address_text, first))
