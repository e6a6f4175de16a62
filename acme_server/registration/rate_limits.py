"""Rate limits: each request spends before its transaction, and has it back when it then does nothing.

A refusal is rateLimited with Retry-After and the sentence of the limit that frees last (RFC 8555 section
6.6).  Certificates are counted at finalize, where every name has been shown to be the account's, and newOrder
only looks whether there is room: else anyone could use up what is another's (docs/adr/0022).

Must never: be asked inside of a transaction; serve when the buckets' home cannot be reached; refuse an order
that renews by ARI in its window.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from acme_server.context import Context
from acme_server.objects import Account, Order
from acme_server.registration import rates
from acme_server.registration.new_order import Wanted
from acme_server.registration.rates import Claim, Limit, Rates
from acme_server.store import overrides
from core.ephemeral import Rate, Spend
from core.errors import Problem, TransientError
from core.forwarded import Addresses

_log = logging.getLogger(__name__)


BAD_CSR = "bad-csr"
BAD_CSRS = Rate(100, 3600)
"""A look at a CSR with an RSA key takes 7 to 30 ms, and a refused one leaves its order as it was."""

SITE = 10
"""So many times what a /64 of IPv6 may, all of a /48 may together: a site has 65536 of the former."""


@dataclass(slots=True)
class Spent:
    """What a request has spent, until it is given back."""

    context: Context
    spends: list[Spend]
    at: int

    async def give_back(self) -> None:
        """The request did nothing."""
        spends, self.spends = [each for each in self.spends if each.cost], []
        if not spends:
            return
        try:
            await self.context.buckets.give_back(spends, self.at)
        except TransientError as error:
            _log.warning("what a request had spent for nothing could not be given back: %s", error)


@asynccontextmanager
async def new_account(context: Context, remote: str, binding_kid: str | None) -> AsyncIterator[Spent]:
    """Around the transaction that makes an account: counted by its binding key or, without, its address.

    Raises `Problem`, `TransientError`.
    """
    claims: list[Claim] = []
    if binding_kid is not None:
        kid = binding_kid
        found = await context.database.read(lambda rows: overrides.of_binding(rows, kid))
        by_key = Rates(context.settings.limits, found)
        claims = by_key.claim(Limit.NEW_ACCOUNT_BINDING, kid, 1, kid)
    else:
        addresses, by_default = Addresses(context.settings.acme), Rates(context.settings.limits)
        for block, times in ((addresses.block(remote), 1), (addresses.site(remote), SITE)):
            if block is not None:
                claims += by_default.claim(Limit.NEW_ACCOUNT_ADDRESS, block, 1, block, times=times)
    async with _spent(context, claims) as spent:
        yield spent


@asynccontextmanager
async def new_order(
    context: Context, account: Account, wanted: Wanted, *, renewal: bool
) -> AsyncIterator[Spent]:
    """Around the transaction that places the order; a `renewal` by ARI in its window is exempt.

    Raises `Problem`, `TransientError`.
    """
    claims: list[Claim] = []
    if not renewal:
        claims = rates.of_order(await of_account(context, account.id), account.id, wanted.names)
    async with _spent(context, claims) as spent:
        yield spent


@asynccontextmanager
async def preflight(context: Context, account: Account, names: Sequence[str]) -> AsyncIterator[None]:
    """Around a look at `names` beforehand.  Raises `Problem`, `TransientError`."""
    async with _spent(context, rates.of_preflight(await of_account(context, account.id), account.id, names)):
        yield


@asynccontextmanager
async def one(context: Context, account: Account, limit: Limit) -> AsyncIterator[None]:
    """Around what counts as one of the account's `limit`.  Raises `Problem`, `TransientError`."""
    found = await of_account(context, account.id)
    async with _spent(context, found.claim(limit, account.id, 1)):
        yield


@asynccontextmanager
async def csr(context: Context, order: Order) -> AsyncIterator[None]:
    """Around the look at a CSR, which is some of our dearest work: one that is refused counts.

    An order that renews in time is counted by itself, so that nothing but its own CSRs holds it up.
    Raises `Problem`, `TransientError`.
    """
    whose = order.id if order.renewal else order.account_id
    spend, now = Spend(f"{BAD_CSR}:{whose}", BAD_CSRS), context.clock.now()
    (bucket,) = await context.buckets.look([spend], now)
    if bucket.frees_at > now:
        detail = (
            f"{BAD_CSRS.count} refused CSRs in {rates.span(BAD_CSRS.period)} are the limit; the next is"
            f" looked at from {rates.moment(bucket.frees_at)}. Mend first what the refusals said"
        )
        raise rates.refused(BAD_CSR, detail, bucket.frees_at - now)
    try:
        yield
    except Problem:
        await context.buckets.spend([spend], now)
        raise


@asynccontextmanager
async def certificate(context: Context, order: Order) -> AsyncIterator[None]:
    """Around the transaction that accepts a CSR.  Raises `Problem`, `TransientError`."""
    if order.renewal:
        yield
        return
    claims = rates.of_certificate(await of_account(context, order.account_id), order.names)
    async with _spent(context, claims):
        yield


async def of_account(context: Context, account_id: str) -> Rates:
    """How fast the limits fill for the account."""
    found = await context.database.read(lambda rows: overrides.of_account(rows, account_id))
    return Rates(context.settings.limits, found)


@asynccontextmanager
async def _spent(context: Context, claims: Sequence[Claim]) -> AsyncIterator[Spent]:
    now = context.clock.now()
    spent = Spent(context, [each.spend for each in claims], now)
    if claims:
        refused = rates.reached(claims, await context.buckets.spend(spent.spends, now), now)
        if refused is not None:
            raise refused
    try:
        yield spent
    except Exception:  # not when cancelled: then nobody knows whether the transaction was done
        await spent.give_back()
        raise
