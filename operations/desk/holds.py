"""`acme-server holds`: orders that wait for a person, listed, approved and refused through the running app.

Must never: decide without a name and a note; decide twice.

BR 4.2.1; CPS 5.2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from acme_server.registration import holds as rules
from acme_server.store import accounts, orders
from acme_server.store import holds as rows
from acme_server.store.holds import Decision, Hold
from core import caller
from core.data_directory import DataDirectory
from core.database import Database, Reader, Transaction
from core.errors import Refused
from core.rpc import Method, RpcServer
from core.settings import Settings
from operations.desk import local_api

PAGE = 200
"""Orders in one answer of the list."""

MAX_NOTE = 1000
"""Characters."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The orders after the one that was held at `held_at` (POSIX seconds); 0 and "" for the first."""

    held_at: int
    order_id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order that waits: what a person needs to judge it.  Times are POSIX seconds."""

    order_id: str
    names: tuple[str, ...]
    profile: str
    why: str
    held_at: int
    expires: int
    account_url: str
    contact: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Fewer than `PAGE` orders: the last page."""

    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class DecideRequest:
    """`note` says on what the decision rests; it stays in the CA."""

    order_id: str
    approved: bool
    note: str
    actor: str


@dataclass(frozen=True, slots=True)
class Decided:
    """The names of the order."""

    names: tuple[str, ...]


LIST = Method("holds-list", ListRequest, Page)
DECIDE = Method("holds-decide", DecideRequest, Decided)


def serve(
    answering: RpcServer, database: Database, settings: Settings, wake_jobs: Callable[[], None]
) -> None:
    """Add the app's side to the operator's socket."""

    async def page(request: ListRequest) -> Page:
        after = request.held_at, request.order_id
        return await database.read(
            lambda reader: Page(tuple(_waiting(reader, each) for each in rows.waiting(reader, after, PAGE)))
        )

    async def decide(request: DecideRequest) -> Decided:
        note = request.note.strip()
        if not note or len(note) > MAX_NOTE:
            raise Refused("hold.note", f"say on what it rests, in 1 to {MAX_NOTE} characters: --note TEXT")
        actor = f"operator {request.actor}"

        def unit(tx: Transaction) -> tuple[str, ...]:
            if request.approved:
                return rules.approve(tx, request.order_id, note, actor=actor).names
            return rules.refuse(tx, request.order_id, note, settings, actor=actor).names

        names = await database.write(unit)
        wake_jobs()
        return Decided(names)

    answering.add(LIST, page)
    answering.add(DECIDE, decide)


def list_all(data: DataDirectory) -> list[Waiting]:
    """The command line's side: all that wait, the oldest first.

    Raises `Refused`, or `TransientError` when no app runs here.
    """
    found: list[Waiting] = []
    while True:
        after = ListRequest(found[-1].held_at, found[-1].order_id) if found else ListRequest(0, "")
        page = local_api.call(data, LIST, after)
        found += page.waiting
        if len(page.waiting) < PAGE:
            return found


def decide(data: DataDirectory, order: str, decision: Decision, note: str) -> tuple[str, ...]:
    """The command line's side; `order` is an id or a URL.  The order's names.  Raises as `list_all`."""
    order_id = order.rstrip("/").rpartition("/")[2]
    approved = decision is Decision.APPROVED
    return local_api.call(data, DECIDE, DecideRequest(order_id, approved, note, caller.claimed())).names


def _waiting(reader: Reader, held: Hold) -> Waiting:
    order = orders.by_id(reader, held.order_id)
    assert order is not None
    account = accounts.by_id(reader, order.account_id)
    assert account is not None
    return Waiting(
        order.id,
        order.names,
        order.profile,
        held.why,
        held.held_at,
        order.expires,
        account.url,
        account.contact,
    )
