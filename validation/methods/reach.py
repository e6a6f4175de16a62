"""Where a host is reached: its addresses, each judged, in the order in which they are tried.

A host is resolved once for each connection that it shall get; its first AAAA is tried, and its first A only
after that did not connect.  http-01 and tls-alpn-01 find their hosts alike.

Must never: hand out an address that the policy bars.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TypeVar

from core.errors import TransientError
from core.identifiers import is_local
from validation.addresses import Address, AddressBarred, parse_address
from validation.challenge import Tools
from validation.dns.asking import NO_TIME, ask
from validation.dns.resolver import Answer, LookupFailure, Type
from validation.hosts.dialer import ConnectFailed
from validation.verdict import CheckFailed, Trace

_T = TypeVar("_T")


async def addresses(host: str, tools: Tools, trace: Trace, *, redirected: bool = False) -> list[Address]:
    """The first usable AAAA and then the first usable A of `host`; at least one of them.

    `host` is a normal name or a canonical address, which needs no look-up.  Raises `CheckFailed`: "dns" when
    there is none, or "connection" when the policy bars what a redirect led to.
    """
    literal = parse_address(host)
    if literal is not None:
        try:
            tools.policy.police(literal)
        except AddressBarred as error:
            refusal = f"a redirect to {error} is not followed" if redirected else str(error)
            raise CheckFailed("connection", refusal) from error
        return [literal]
    usable: list[Address] = []
    barred: list[str] = []
    local = is_local(host, tools.local_names)
    for family in await _resolve(host, tools, trace):
        for address in family:
            try:
                tools.policy.police(address, local=local)
            except AddressBarred as error:
                barred.append(str(error))
                continue
            usable.append(address)
            break
    if usable:
        return usable
    if barred:
        problem = "connection" if redirected else "dns"
        raise CheckFailed(problem, f"{host}: no usable address ({'; '.join(barred[:3])})")
    raise CheckFailed("dns", f"{host} has no A or AAAA record")


async def first_connected(
    found: Sequence[Address], dial: Callable[[Address], Awaitable[_T]], trace: Trace
) -> _T:
    """What `dial` brings from the first of `found` that connects.  Raises `CheckFailed`, `TransientError`."""
    *others, last = found
    for address in others:
        try:
            return await dial(address)
        except ConnectFailed as error:
            trace.add(f"connect failed: {error.detail}")
    return await dial(last)


async def told(dial: Awaitable[_T], tell: Callable[[int, _T | None, str], None]) -> _T:
    """What `dial` brings; `tell` hears how long it took (ms), and what came of it or why nothing did."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    brought, why = None, NO_TIME
    try:
        brought = await dial
    except CheckFailed as error:
        why = error.detail
        raise
    except TransientError:
        why = "a fault of ours"
        raise
    finally:
        tell(round(1000 * (loop.time() - began)), brought, why)
    return brought


async def _resolve(host: str, tools: Tools, trace: Trace) -> tuple[list[Address], list[Address]]:
    """All AAAA and all A.  One family may fail; `LookupFailure` when both do, or the name does not exist."""
    answers = await asyncio.gather(
        ask(tools.resolver, host, Type.AAAA, trace),
        ask(tools.resolver, host, Type.A, trace),
        return_exceptions=True,
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
