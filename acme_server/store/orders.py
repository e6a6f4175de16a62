"""Orders (RFC 8555 section 7.1.3).  `identifiers` and the list of authorizations are written once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from acme_server.objects import Order, identifier
from acme_server.states import ORDER, Event, OrderStatus
from core.database import Row, Rows, Transaction

_identifiers = msgspec.json.Decoder(list[dict[str, str]]).decode
_COLUMNS = (
    "o.id, o.account_id, o.status, o.identifiers, o.profile, o.expires, o.created_at, o.error, o.csr,"
    " o.certificate_id, o.applicant, o.not_before, o.not_after, o.replaces, o.renewal, o.predecessor"
)

_RESTING = "id IN (SELECT order_id FROM order_authorizations WHERE authorization_id = ?)"


def insert(tx: Transaction, order: Order, authorization_ids: Sequence[str]) -> None:
    """A new order on these authorizations, one for each name."""
    tx.execute(
        "INSERT INTO orders (id, account_id, status, identifiers, profile, expires, created_at, not_before,"
        " not_after, replaces, renewal, predecessor) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            order.id,
            order.account_id,
            order.status,
            json.dumps([identifier(name) for name in order.names]),
            order.profile,
            order.expires,
            order.created_at,
            order.not_before,
            order.not_after,
            order.replaces,
            int(order.renewal),
            order.predecessor,
        ),
    )
    for position, authorization_id in enumerate(authorization_ids):
        tx.execute(
            "INSERT INTO order_authorizations (order_id, position, authorization_id) VALUES (?, ?, ?)",
            (order.id, position, authorization_id),
        )


def by_id(rows: Rows, order_id: str) -> Order | None:
    """The order."""
    row = rows.one(f"SELECT {_COLUMNS} FROM orders o WHERE o.id = ?", (order_id,))
    return None if row is None else _order(row)


def authorization_ids(rows: Rows, order_id: str) -> list[str]:
    """The ids of the order's authorizations, in the order of its identifiers."""
    found = rows.all(
        "SELECT authorization_id FROM order_authorizations WHERE order_id = ? ORDER BY position", (order_id,)
    )
    return [row["authorization_id"] for row in found]


def advance(tx: Transaction, authorization_id: str) -> None:
    """The authorization is valid: the pending orders that waited for it and for no other are ready.

    One statement, since one name can have ten thousands of orders, and everybody else waits meanwhile.
    """
    ready = ORDER.move(OrderStatus.PENDING, Event.ALL_AUTHORIZED)
    tx.execute(
        f"UPDATE orders SET status = ? WHERE {_RESTING} AND status = 'pending' AND expires > ?"
        " AND NOT EXISTS (SELECT 1 FROM order_authorizations o JOIN authorizations z"
        " ON z.id = o.authorization_id WHERE o.order_id = orders.id"
        " AND NOT (z.status = 'valid' AND z.expires > ?))",
        (ready, authorization_id, tx.now, tx.now),
    )


def end_on(tx: Transaction, authorization_id: str, event: Event, error: str) -> None:
    """Orders that rest on the authorization and are moved by `event` have ended; `error` as in `move`."""
    moved = [each for each in OrderStatus if ORDER.allows(each, event)]
    (after,) = {ORDER.move(each, event) for each in moved}
    tx.execute(
        f"UPDATE orders SET status = ?, error = ? WHERE {_RESTING}"
        f" AND status IN ({', '.join('?' * len(moved))})",
        (after, error, authorization_id, *moved),
    )


def renews(rows: Rows, authorization_id: str) -> bool:
    """Whether an order that rests on the authorization renews by ARI in its window."""
    return (
        rows.one(
            "SELECT 1 FROM order_authorizations z JOIN orders o ON o.id = z.order_id"
            " WHERE z.authorization_id = ? AND o.renewal = 1 LIMIT 1",
            (authorization_id,),
        )
        is not None
    )


def end_open(tx: Transaction, account_id: str, error: str) -> None:
    """The account has ended, and with it its orders that are pending or ready; `error` as in `move`."""
    (after,) = {ORDER.move(each, Event.DEACTIVATED) for each in (OrderStatus.PENDING, OrderStatus.READY)}
    tx.execute(
        "UPDATE orders SET status = ?, error = ? WHERE account_id = ? AND status IN ('pending', 'ready')"
        " AND expires > ?",
        (after, error, account_id, tx.now),
    )


def replacing(rows: Rows, certificate_id: str, now: int) -> Order | None:
    """The order that replaces the certificate: one that is not invalid."""
    row = rows.one(
        f"SELECT {_COLUMNS} FROM orders o WHERE o.predecessor = ? AND (o.status IN ('processing', 'valid')"
        " OR (o.status IN ('pending', 'ready') AND o.expires > ?))",
        (certificate_id, now),
    )
    return None if row is None else _order(row)


def tries(rows: Rows, certificate_id: str) -> int:
    """How many orders there ever were to replace the certificate."""
    row = rows.one("SELECT COUNT(*) FROM orders WHERE predecessor = ?", (certificate_id,))
    assert row is not None
    return int(row[0])


def move(tx: Transaction, order: Order, event: Event, error: str | None = None) -> OrderStatus:
    """The status after `event`; `error` is a problem document.  Raises `IllegalMove`."""
    after = ORDER.move(order.status, event)
    tx.execute("UPDATE orders SET status = ?, error = ? WHERE id = ?", (after, error, order.id))
    return after


def finalize(tx: Transaction, order: Order, csr: bytes, applicant: bytes) -> Order:
    """The order, moved.  `csr` is DER, `applicant` msgpack of the `Applicant` who signed for it.

    Raises `IllegalMove`.
    """
    after = ORDER.move(order.status, Event.FINALIZED)
    tx.execute(
        "UPDATE orders SET status = ?, csr = ?, applicant = ? WHERE id = ?", (after, csr, applicant, order.id)
    )
    return replace(order, status=after, csr=csr, applicant=applicant)


def deliver(tx: Transaction, order_id: str, certificate_id: str) -> bool:
    """Bind the one certificate to the order: compare-and-set, so that no second one is ever delivered."""
    after = ORDER.move(OrderStatus.PROCESSING, Event.ISSUED)
    changed = tx.execute(
        "UPDATE orders SET status = ?, certificate_id = ?"
        " WHERE id = ? AND status = 'processing' AND certificate_id IS NULL",
        (after, certificate_id, order_id),
    )
    return changed.rowcount == 1


def _order(row: Row) -> Order:
    # By position, as _COLUMNS has them: looking up a dozen names in a row costs more than the query.
    id, account_id, status, identifiers, *rest, renewal, predecessor = row
    names = tuple([each["value"] for each in _identifiers(identifiers)])
    rest += [bool(renewal), predecessor]
    return Order(id, account_id, OrderStatus(status), names, *rest)
