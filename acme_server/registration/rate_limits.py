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

from acme_server.context import Context
from acme_server.objects import Account, Order
from acme_server.registration import rates
from acme_server.registration.new_order import Wanted
from acme_server.registration.rates import Claim, Limit, Rates
from acme_server.store import overrides
from core.errors import TransientError

_log = logging.getLogger(__name__)


@asynccontextmanager
async def new_order(
    context: Context, account: Account, wanted: Wanted, *, renewal: bool
) -> AsyncIterator[None]:
    """Around the transaction that places the order; a `renewal` by ARI in its window is exempt.

    Raises `Problem`, `TransientError`.
    """
    if renewal:
        yield
        return
    claims = rates.of_order(await of_account(context, account.id), account.id, wanted.names)
    async with _spent(context, claims):
        yield


@asynccontextmanager
async def new_authorization(context: Context, account: Account) -> AsyncIterator[None]:
    """Around the transaction of newAuthz: one name.  Raises `Problem`, `TransientError`."""
    found = await of_account(context, account.id)
    async with _spent(context, found.claim(Limit.NEW_ORDER_ACCOUNT, account.id, 1)):
        yield


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
async def _spent(context: Context, claims: Sequence[Claim]) -> AsyncIterator[None]:
    now = context.clock.now()
    spends = [each.spend for each in claims]
    refused = rates.reached(claims, await context.buckets.spend(spends, now), now)
    if refused is not None:
        raise refused
    try:
        yield
    except Exception:  # not when cancelled: then nobody knows whether the transaction was done
        try:
            await context.buckets.give_back([each for each in spends if each.cost], now)
        except TransientError as error:
            _log.warning("what a refused request had spent could not be given back: %s", error)
        raise
