"""The http-01 challenge: a file below /.well-known/acme-challenge/ on the host's web port.

Redirects are followed by our own loop, one hop at a time: each is judged by the redirect policy, resolved
once, its address judged by the address policy, and dialled by the guarded dialer.

RFC 8555 section 8.3; BR 3.2.2.4.19.
"""

from __future__ import annotations

import asyncio
import hmac
from ipaddress import ip_address

from core.identifiers import is_local
from validation import redirects
from validation.addresses import LOOPBACK, Address, AddressBarred
from validation.challenge import Challenge, Tools
from validation.dialer import ConnectFailed, Reply
from validation.redirects import Hop
from validation.resolver import Answer, LookupFailure, Type
from validation.verdict import CheckFailed, Trace, printable

PATH = "/.well-known/acme-challenge/"
BODY_OCTETS = 128
"""A key authorization is 65 to 90 octets; white space may follow."""

SHOWN_OCTETS = 64


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> None:
    """Returns when the host serves the key authorization.  Raises `CheckFailed`, `TransientError`."""
    try:
        async with asyncio.timeout(tools.dialer.limits.check):
            reply = await _follow(challenge, tools, trace)
    except TimeoutError as error:
        raise CheckFailed(
            "connection", f"{challenge.name}: no answer within {tools.dialer.limits.check:.0f} s"
        ) from error
    _compare(reply, challenge)


async def _follow(challenge: Challenge, tools: Tools, trace: Trace) -> Reply:
    hop = Hop("http", challenge.name, 80, PATH + challenge.token)
    seen = {hop.url}
    may_be_local = is_local(challenge.name, tools.local_names)
    while True:
        reply = await _get(hop, tools, trace, first=len(seen) == 1)
        if reply.status not in redirects.STATUSES:
            return reply
        hop = redirects.follow(hop, reply.location, tools.ports, tools.host_rule)
        if hop.url in seen:
            raise CheckFailed("connection", f"a redirect loop: {hop.url} came twice")
        if len(seen) > redirects.LIMIT:
            raise CheckFailed("connection", f"more than {redirects.LIMIT} redirects")
        if is_local(hop.host, tools.local_names) and not may_be_local:
            # Whoever controls a name elsewhere has no say about this machine.
            raise CheckFailed(
                "connection", f"a redirect from {challenge.name} to a local name is not followed"
            )
        seen.add(hop.url)


async def _get(hop: Hop, tools: Tools, trace: Trace, *, first: bool) -> Reply:
    found = await _addresses(hop, tools, trace, first=first)
    port = tools.ports.dialled(hop.port)
    for position, address in enumerate(found):
        trace.add(f"GET {hop.url} at {address} port {port}")
        try:
            reply = await tools.dialer.get(hop, address, port, BODY_OCTETS + 1)
        except ConnectFailed as error:
            trace.add(f"connect failed: {error.detail}")
            if position + 1 == len(found):
                raise CheckFailed(error.problem, f"{hop.url}: {error.detail}") from error
        except CheckFailed as error:
            raise CheckFailed(error.problem, f"{hop.url}: {error.detail}") from error
        else:
            location = f", Location {reply.location}" if reply.location else ""
            trace.add(f"status {reply.status}, {len(reply.body)} octets{location}")
            return reply
    raise AssertionError("_addresses returned none")


async def _addresses(hop: Hop, tools: Tools, trace: Trace, *, first: bool) -> list[Address]:
    """The first usable AAAA and then the first usable A; at least one of them."""
    if hop.address is not None:
        try:
            tools.policy.police(hop.address)
        except AddressBarred as error:
            raise CheckFailed("connection", f"a redirect to {error} is not followed") from error
        return [hop.address]
    resolved = await _resolve(hop.host, tools, trace)
    local = is_local(hop.host, tools.local_names)
    usable: list[Address] = []
    barred: list[str] = []
    for family in resolved:
        for address in family:
            try:
                if not (local and address in LOOPBACK):
                    tools.policy.police(address)
            except AddressBarred as error:
                barred.append(str(error))
                continue
            usable.append(address)
            break
    if usable:
        return usable
    problem = "dns" if first else "connection"
    if barred:
        raise CheckFailed(problem, f"{hop.host}: no usable address ({'; '.join(barred[:3])})")
    raise CheckFailed(problem, f"{hop.host} has no A or AAAA record")


async def _resolve(host: str, tools: Tools, trace: Trace) -> tuple[list[Address], list[Address]]:
    """All AAAA and all A.  One family may fail; `LookupFailure` when both do, or the name does not exist."""
    answers = await asyncio.gather(
        tools.resolver.lookup(host, Type.AAAA), tools.resolver.lookup(host, Type.A), return_exceptions=True
    )
    families: list[list[Address]] = []
    failures: list[LookupFailure] = []
    for answer in answers:
        if isinstance(answer, Answer):
            trace.add(answer.describe())
            families.append([ip_address(rdata) for rdata in answer.records])
        elif isinstance(answer, LookupFailure):
            trace.add(answer.detail)
            families.append([])
            failures.append(answer)
        else:
            raise answer
    if failures and not any(families):
        raise failures[-1]
    if not any(isinstance(answer, Answer) and answer.exists for answer in answers):
        raise CheckFailed("dns", f"{host} does not exist (NXDOMAIN)")
    return families[0], families[1]


def _compare(reply: Reply, challenge: Challenge) -> None:
    where = f"{challenge.name}: {PATH}{challenge.token}"
    if reply.status != 200:
        raise CheckFailed("unauthorized", f"{where} gave status {reply.status} instead of 200")
    if len(reply.body) > BODY_OCTETS:
        raise CheckFailed("unauthorized", f"{where} gave more than {BODY_OCTETS} octets")
    if not hmac.compare_digest(reply.body.rstrip(b" \t\r\n"), challenge.key_authorization.encode()):
        shown = printable(reply.body, SHOWN_OCTETS)
        raise CheckFailed("unauthorized", f"{where} does not hold the key authorization but {shown!r}")
