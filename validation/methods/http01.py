"""The http-01 challenge: a file below /.well-known/acme-challenge/ on the host's web port.

Redirects are followed by our own loop, one hop at a time: each is judged by the redirect policy, resolved
once, its address judged by the address policy, and dialled by the guarded dialer.

RFC 8555 section 8.3; BR 3.2.2.4.19.
"""

from __future__ import annotations

import asyncio
import hmac
import re

from core.facts import Fetch
from core.identifiers import is_local
from validation.addresses import Address
from validation.challenge import Challenge, Shown, Tools
from validation.hosts import redirects
from validation.hosts.http_exchange import Reply
from validation.hosts.redirects import Hop
from validation.methods import reach
from validation.verdict import LINE_LIMIT, CheckFailed, Trace, printable

PATH = "/.well-known/acme-challenge/"
BODY_OCTETS = 128
"""A key authorization is 65 to 90 octets; white space may follow."""

_KEY_AUTHORIZATION = re.compile(rb"[A-Za-z0-9_-]{1,84}\.[A-Za-z0-9_-]{43}")


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> Shown:
    """Returns when the host serves the key authorization.  Raises `CheckFailed`, `TransientError`."""
    _compare(await visit(challenge, tools, trace), challenge)
    return Shown()


async def visit(challenge: Challenge, tools: Tools, trace: Trace) -> Reply:
    """What is at the challenge's URL, or where that leads.  Raises `CheckFailed`, `TransientError`."""
    try:
        async with asyncio.timeout(tools.dialer.limits.check):
            return await _follow(challenge, tools, trace)
    except TimeoutError as error:
        raise CheckFailed(
            "connection", f"{challenge.name}: no answer within {tools.dialer.limits.check:.0f} s"
        ) from error


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
    port = tools.ports.dialled(hop.port)

    async def dial(address: Address) -> Reply:
        trace.add(f"GET {hop.url} at {address} port {port}")

        def tell(took: int, reply: Reply | None, why: str) -> None:
            trace.fetches.append(_fact(hop, f"{address}", port, took, reply, why))

        return await reach.told(tools.dialer.get(hop, address, port, BODY_OCTETS + 1), tell)

    found = await reach.addresses(hop.host, tools, trace, redirected=not first)
    try:
        reply = await reach.first_connected(found, dial, trace)
    except CheckFailed as error:
        raise CheckFailed(error.problem, f"{hop.url}: {error.detail}") from error
    location = f", Location {reply.location}" if reply.location else ""
    trace.add(f"status {reply.status}, {len(reply.body)} octets{location}")
    return reply


def _fact(hop: Hop, address: str, port: int, took: int, reply: Reply | None, why: str) -> Fetch:
    url = printable(hop.url, LINE_LIMIT)
    if reply is None:
        return Fetch(url, address, port, took, failure=why)
    location = printable(reply.location, LINE_LIMIT) if reply.location else ""
    return Fetch(url, address, port, took, reply.status, len(reply.body), location)


def _compare(reply: Reply, challenge: Challenge) -> None:
    where = f"{challenge.name}: {PATH}{challenge.token}"
    if reply.status != 200:
        raise CheckFailed("unauthorized", f"{where} gave status {reply.status} instead of 200")
    if len(reply.body) > BODY_OCTETS:
        raise CheckFailed("unauthorized", f"{where} gave more than {BODY_OCTETS} octets")
    found = reply.body.rstrip(b" \t\r\n")
    if not hmac.compare_digest(found, challenge.key_authorization.encode()):
        raise CheckFailed(
            "unauthorized", f"{where} does not hold the key authorization but {_kind(found, challenge)}"
        )


def _kind(body: bytes, challenge: Challenge) -> str:
    """What was found instead, without a word of it: where a redirect led, it may be for our eyes alone."""
    if not body:
        return "nothing"
    if body.startswith(challenge.token.encode() + b"."):
        return "one of another account key: the file is another client's"
    if _KEY_AUTHORIZATION.fullmatch(body):
        return "one for another token"
    if body.lstrip().startswith(b"<"):
        return "a web page"
    return f"{len(body)} other octets"
