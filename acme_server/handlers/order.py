"""newOrder, order and finalize (RFC 8555 sections 7.4, 7.1.3)."""

from __future__ import annotations

import logging

from acme_server import jws, resources
from acme_server.authentication import must_be_owner, own
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply, text
from acme_server.objects import Order
from acme_server.registration import csr, finalize, new_order, rate_limits
from acme_server.registration import orders as rules
from acme_server.registration import replacement as replacing
from acme_server.registration.holds import RETRY_AFTER
from acme_server.states import OrderStatus
from acme_server.store import holds, order_list, orders
from core.database import Transaction

PAGE = 100
"""Orders in one answer of the list: some 6 KiB."""

_log = logging.getLogger(__name__)


async def create(context: Context, request: ByAccount) -> Reply:
    """A new order (201), or once more the open one that replaces the same certificate."""
    settings, now = context.settings, context.clock.now()
    wanted = new_order.read(request.members, settings, now)
    replacement = await context.database.read(
        lambda reader: replacing.find(reader, request.account, wanted, settings, now)
    )
    if replacement is not None and replacement.again is not None:
        again = replacement.again
        return await _shown(context, again, 201)
    renewal = replacement is not None and replacement.in_time

    def unit(tx: Transaction) -> rules.Placement:
        return rules.place(tx, request.account, wanted, settings, context.randomness)

    async with rate_limits.new_order(context, request.account, wanted, renewal=renewal) as spent:
        placed = await context.database.write(unit)
        if placed.again:  # another request of the same content was faster
            await spent.give_back()
    return _reply(context, placed.order, placed.authorization_ids, 201)


async def list_of_account(context: Context, request: ByAccount) -> Reply:
    """The account's orders that are not invalid, in pages (section 7.1.2.1)."""
    account_id = request.path["id"]
    must_be_owner(request, account_id, "list of orders")
    cursor, now = request.query.get("after"), context.clock.now()
    page = await context.database.read(lambda rows: order_list.page(rows, account_id, cursor, PAGE, now))
    following = f"{context.urls.orders(account_id)}?after={page.following}"
    return Reply(
        content={"orders": [context.urls.order(each) for each in page.ids]},
        links=() if page.following is None else (("next", following),),
    )


async def show(context: Context, request: ByAccount) -> Reply:
    """The order; while it is processing the answer is held for a moment, in case it gets valid."""
    order_id = request.path["id"]
    with context.changes.watch(order_id) as moved:
        order = await _own_order(context, request, order_id)
        if order.status is OrderStatus.PROCESSING and await moved.within(context.settings.acme.hold):
            order = await _own_order(context, request, order_id)
    return await _shown(context, order)


async def finalize_order(context: Context, request: ByAccount) -> Reply:
    """Accept a CSR for a ready order and begin issuance; a bad CSR leaves the order ready."""
    order_id = request.path["id"]
    order = await _own_order(context, request, order_id)
    der = jws.decode_base64url(text(request.members, "csr"), "csr")
    now = context.clock.now()
    finalize.must_be_ready(order, now)
    finalize.must_still_fit(order, context.settings, now)
    high_risk = context.high_risk.found(order.names)
    with context.changes.watch(order_id) as moved:
        async with rate_limits.csr(context, order):
            requested = csr.read(der, context.blocklist)
            csr.must_match(requested, order.names)
            spki = requested.spki_sha256
            await context.database.read(lambda reader: finalize.must_be_no_account_key(reader, spki))
        async with rate_limits.certificate(context, order):
            order = await context.database.write(
                lambda tx: finalize.accept(tx, order_id, der, requested, request, high_risk)
            )
        if high_risk:
            _log.warning("order %s waits for a person: acme-server holds list", order_id)
            return await _shown(context, order)
        context.wake_jobs()
        if await moved.within(context.settings.acme.hold):
            order = await _own_order(context, request, order_id)
    return await _shown(context, order)


async def _own_order(context: Context, request: ByAccount, order_id: str) -> Order:
    return own(request, await context.database.read(lambda reader: orders.by_id(reader, order_id)), "order")


async def _shown(context: Context, order: Order, status: int = 200) -> Reply:
    retry_after = 0
    if order.status is OrderStatus.PROCESSING:
        waits = await context.database.read(lambda reader: holds.is_waiting(reader, order.id))
        retry_after = RETRY_AFTER if waits else context.settings.acme.poll_interval
    ids = await context.database.read(lambda reader: orders.authorization_ids(reader, order.id))
    return _reply(context, order, ids, status, retry_after)


def _reply(
    context: Context, order: Order, authorization_ids: list[str], status: int, retry_after: int = 0
) -> Reply:
    headers = {"Location": context.urls.order(order.id)}
    if order.status is OrderStatus.PROCESSING:
        headers["Retry-After"] = str(retry_after)
    content = resources.order(order, authorization_ids, context.urls, context.clock.now())
    return Reply(status, content, headers=headers)
