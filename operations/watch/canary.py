"""The canary of a look: who orders it, how its challenges are answered, and what must become public of it.

RFC 8555; BR 4.9.10 (an authoritative answer within 15 minutes; we wait a minute and less).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from core.clock import Clock
from core.errors import ConfigurationError
from operations.subscriber.account import Account, binding
from operations.subscriber.answers import DnsHook, Http01
from operations.subscriber.client import AcmeClient
from operations.subscriber.front import Front
from operations.subscriber.order import Answering, Orders
from operations.watch.checks import canary, ocsp
from operations.watch.checks.canary import Issued
from operations.watch.finding import Wrong
from operations.watch.look import Looking
from operations.watch.scope import Scope

METHODS = ("http-01", "tls-alpn-01", "dns-01")

OCSP_PATIENCE = 60.0
"""Seconds until OCSP knows a new certificate (requirements 2.67: a minute)."""


@dataclass(frozen=True, slots=True)
class Canary:
    """What is issued and how.

    `every` and `seen_within` in seconds; `scts` the least number of SCTs; `state` holds the account.
    """

    name: str
    method: str
    listen: str
    hook: str
    state: Path
    scts: int = 0
    revoke: bool = True
    every: int = 86400
    seen_within: int = 120
    binding_file: str = ""

    def check(self) -> None:
        """Raises `ConfigurationError` for what cannot work."""
        if self.method not in METHODS:
            raise ConfigurationError(f"--canary-method {self.method}: it is one of {', '.join(METHODS)}")
        if self.method == "dns-01" and not self.hook:
            raise ConfigurationError(
                "--canary-method dns-01 needs --canary-hook: a program that sets the record"
            )
        if self.method != "dns-01" and not self.listen:
            raise ConfigurationError(
                f"--canary-method {self.method} needs --canary-listen: where the CA will find {self.name}"
            )


async def fly(wanted: Canary, looking: Looking, http: aiohttp.ClientSession, clock: Clock) -> None:
    """Obtain, look, revoke, look again; each a finding."""
    scope = looking.scope
    if scope is None:
        return
    account = Account(wanted.state / "canary")
    client = AcmeClient(http, looking.wanted.directory or scope.acme_directory, account.key(), account.url)
    issued = await looking.run(
        "canary-issue", wanted.name, partial(_issue, wanted, client, account, scope, clock), _told
    )
    if issued is None:
        return
    serial, ends = issued.leaf.serial_number, int(issued.leaf.not_valid_after_utc.timestamp())
    looking.memory.know(issued.issuer.id, serial, ends)
    said = partial(_said, looking, scope, issued, clock)
    await looking.run(
        "canary-good",
        wanted.name,
        lambda: canary.becomes("OCSP says good", partial(said, "good"), OCSP_PATIENCE, clock),
    )
    if not wanted.revoke:
        return
    if await looking.run("canary-revoke", wanted.name, lambda: canary.revoke(client, issued)) is None:
        return
    await looking.run(
        "canary-ocsp",
        wanted.name,
        lambda: canary.becomes("OCSP says revoked", partial(said, "revoked"), wanted.seen_within, clock),
    )
    await looking.run(
        "canary-crl",
        wanted.name,
        lambda: canary.becomes(
            "it is on the CRL", partial(_on_crl, looking, issued), wanted.seen_within, clock
        ),
    )


async def _issue(wanted: Canary, client: AcmeClient, account: Account, scope: Scope, clock: Clock) -> Issued:
    if not client.kid:
        account.url = await client.register(binding(wanted.binding_file, "--canary-binding"))
    async with _answering(wanted, clock) as answering:
        orders = Orders(client, answering, clock)
        return await canary.issue(orders, scope, wanted.name, wanted.scts, clock.now())


@asynccontextmanager
async def _answering(wanted: Canary, clock: Clock) -> AsyncIterator[Answering]:
    if wanted.method == "dns-01":
        yield DnsHook(wanted.hook)
        return
    http01, front = Http01(), Front(lambda host: None, _nobody, clock)
    serving: Http01 | Front = http01 if wanted.method == "http-01" else front
    try:
        if isinstance(serving, Http01):
            await serving.listen(wanted.listen)
        else:
            await serving.listen([wanted.listen])
        yield serving
    except OSError as error:
        remedy = "free the port, or name another; one below 1024 needs CAP_NET_BIND_SERVICE"
        raise Wrong(f"--canary-listen {wanted.listen}: {error}", remedy) from error
    finally:
        await serving.close()


async def _nobody(*_: object) -> None:
    """No host of the canary shows a page."""


async def _said(looking: Looking, scope: Scope, issued: Issued, clock: Clock, wanted: str) -> bool:
    said = await ocsp.ask(
        looking.fetcher, scope.ocsp, issued.issuer, issued.leaf.serial_number, clock.now(), alike=False
    )
    return said.status == wanted


async def _on_crl(looking: Looking, issued: Issued) -> bool:
    for url in issued.issuer.crls:
        found = await looking.read_crl(issued.issuer, url)
        if found.entry(issued.leaf.serial_number) is not None:
            return True
    return False


def _told(issued: Issued) -> str:
    leaf = issued.leaf
    return f"serial {leaf.serial_number:x} by {issued.issuer.id}, until {leaf.not_valid_after_utc:%Y-%m-%d}"
