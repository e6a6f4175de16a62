"""acme_server/store/order_list.py: the account's orders in pages."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acme_server.handlers import order as order_handler
from acme_server.store import order_list
from core import tables
from core.clock import FakeClock
from core.database import Reader
from tests.support.acme_client import AcmeClient
from tests.support.acme_front import Front
from tests.support.database import NOW

SECTION = pytest.mark.clause("RFC 8555 section 7.1.2.1")
NAME = "www.example.com"
WEEK = 7 * 86400
BIG, OTHER = "the-big-account", "another"


async def listed(client: AcmeClient) -> list[list[str]]:
    """All pages."""
    found, url = [], f"{client.kid}/orders"
    while url:
        page = await client.post(url)
        assert page.status == 200
        assert list(page.body) == ["orders"]
        found.append(page.body["orders"])
        url = next(iter(page.links("next")), "")
    return found


@SECTION
@pytest.mark.must(
    "rfc8555.7.1.2.1.object", "rfc8555.7.1.2.1.pending", "rfc8555.7.1.2.1.invalid", "rfc8555.7.1.2.1.next"
)
async def test_orders_are_listed_in_pages_without_the_invalid_ones(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_handler, "PAGE", 2)
    assert await listed(subscriber) == [[]]
    placed = [(await subscriber.order(f"{n}.example.com")).headers["Location"] for n in range(5)]
    gone = await subscriber.post(placed[1])
    await subscriber.post(gone.body["authorizations"][0], {"status": "deactivated"})
    assert await listed(subscriber) == [[placed[0], placed[2]], [placed[3], placed[4]]]


@SECTION
async def test_open_orders_come_first_and_those_whose_time_is_over_do_not_come(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_handler, "PAGE", 2)
    done = [(await front.issued(subscriber, f"{n}.example.com"))[0].headers["Location"] for n in range(3)]
    await subscriber.order("forgotten.example.com")
    front.clock.at += WEEK
    await subscriber.get("/acme/new-nonce")
    waiting = (await subscriber.order("open.example.com")).headers["Location"]
    assert await listed(subscriber) == [[waiting, done[0]], [done[1], done[2]]]
    ready = (await front.authorized(subscriber, "ready.example.com")).headers["Location"]
    assert await listed(subscriber) == [[waiting, ready], [done[0], done[1]], [done[2]]]


@SECTION
async def test_an_order_that_is_finished_while_it_is_listed_is_not_left_out(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_handler, "PAGE", 1)
    placed = [(await subscriber.order(f"{n}.example.com")).headers["Location"] for n in range(3)]
    first = await subscriber.post(f"{subscriber.kid}/orders")
    assert first.body["orders"] == placed[:1]
    await front.issued(subscriber, "1.example.com")
    found, url = list(first.body["orders"]), first.links("next")[0]
    while url:
        page = await subscriber.post(url)
        found += page.body["orders"]
        url = next(iter(page.links("next")), "")
    assert set(placed) <= set(found)


@SECTION
@pytest.mark.parametrize("cursor", ["", "open", "open.", "done.nobody", "x.y", "open.x'--", "done"])
async def test_a_cursor_that_is_none_of_ours_begins_anew(
    front: Front, subscriber: AcmeClient, cursor: str
) -> None:
    await front.issued(subscriber, NAME)
    page = await subscriber.post(f"{subscriber.kid}/orders?after={cursor}")
    assert (page.status, len(page.body["orders"])) == (200, 1)


@SECTION
@pytest.mark.clause("RFC 8555 section 10.5")
async def test_a_cursor_of_another_account_shows_nothing_of_it(front: Front, subscriber: AcmeClient) -> None:
    mine = (await subscriber.order(NAME)).headers["Location"]
    other = await front.subscriber()
    theirs = (await other.order(NAME)).headers["Location"].rpartition("/")[2]
    page = await subscriber.post(f"{subscriber.kid}/orders?after=open.{theirs}")
    assert page.body["orders"] == [mine]
    refused = await other.post(f"{subscriber.kid}/orders")
    assert (refused.status, refused.problem) == (403, "unauthorized")


class Counted:
    """An account's orders, made by SQL, and how much work SQLite has with a page of them."""

    def __init__(self, path: Path) -> None:
        tables.migrate(path, FakeClock(NOW))
        self._path = path
        with sqlite3.connect(path) as connection:
            for account in (BIG, OTHER):
                connection.execute(
                    "INSERT INTO accounts (id, url, status, contact, created_at)"
                    " VALUES (?, ?, 'valid', '[]', 0)",
                    (account, account),
                )

    def fill(self, prefix: str, count: int, status: str, created: str, *, account: str = BIG) -> None:
        """`created` is SQL for the time, of the number n."""
        with sqlite3.connect(self._path) as connection:
            connection.execute(
                "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT ?)"
                " INSERT INTO orders (id, account_id, status, identifiers, profile, expires, created_at)"
                f" SELECT ? || '-' || n, ?, ?, '[]', 'tlsserver', {created} + {WEEK}, {created} FROM numbers",
                (count, prefix, account, status),
            )

    def open(self) -> None:
        self.reader = Reader(self._path)
        self.connection = self.reader._connection

    def steps(self, work: Callable[[], object]) -> int:
        """Instructions of SQLite's virtual machine, in tens."""
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            ticks += 1

        self.connection.set_progress_handler(tick, 10)
        work()
        self.connection.set_progress_handler(None, 10)
        return ticks

    def page(self, cursor: str | None = None) -> order_list.Page:
        return order_list.page(self.reader, BIG, cursor, order_handler.PAGE, NOW)


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Counted]:
    made = Counted(tmp_path / "ca.sqlite")
    yield made
    made.reader.close()


FEW = 600
"""Tens of instructions for a page of a hundred, with room to spare: a scan of a thousand rows takes more."""


@SECTION
def test_a_page_is_read_from_its_index_alone(orders: Counted) -> None:
    orders.open()
    for statement, index in ((order_list.OPEN, "orders_unfinished"), (order_list.DONE, "orders_finished")):
        plan = orders.reader.all(f"EXPLAIN QUERY PLAN {statement}", (BIG, NOW, 0, 101))
        told = [row["detail"] for row in plan]
        assert len(told) == 1
        assert told[0].startswith(f"SEARCH orders USING INDEX {index} (account_id=? AND ")


@SECTION
@pytest.mark.parametrize("created", [f"{NOW} - 2000000 + n", f"{NOW} - 2000000"], ids=["spread", "at once"])
def test_what_is_over_costs_a_page_nothing(orders: Counted, created: str) -> None:
    orders.fill("invalid", 5000, "invalid", created)
    orders.fill("expired", 5000, "pending", created)
    orders.fill("valid", 500, "valid", f"{NOW} - 1000000")
    orders.fill("open", 500, "pending", f"{NOW} - 1000")
    orders.fill("theirs", 5000, "valid", created, account=OTHER)
    orders.open()
    found: list[str] = []
    cursor: str | None = None
    for number in range(10):
        page = orders.page(cursor)
        assert orders.steps(lambda: orders.page(cursor)) < FEW  # noqa: B023
        found += page.ids
        cursor = page.following
        assert (cursor is None) == (number == 9)
    assert found == [f"open-{n}" for n in range(500)] + [f"valid-{n}" for n in range(500)]


@SECTION
@pytest.mark.long
def test_any_page_of_a_million_orders_costs_as_little_as_the_first(orders: Counted) -> None:
    orders.fill("invalid", 599_900, "invalid", f"{NOW} - 40000000 + n")
    orders.fill("expired", 200_000, "pending", f"{NOW} - 30000000 + n")
    orders.fill("valid", 200_000, "valid", f"{NOW} - 20000000 + n")
    orders.fill("open", 100, "pending", f"{NOW} - 1000")
    orders.open()
    first, middle, last = None, "done.valid-100000", "done.valid-199899"
    assert orders.page(first).ids == [f"open-{n}" for n in range(100)]
    assert orders.page(middle).ids == [f"valid-{n}" for n in range(100_001, 100_101)]
    assert orders.page(last).following is None
    for cursor in (first, middle, last):
        assert orders.steps(lambda: orders.page(cursor)) < FEW  # noqa: B023
    took = []
    for _ in range(20):
        began = time.perf_counter()
        orders.page(middle)
        took.append(time.perf_counter() - began)
    assert statistics.median(took) < 0.005
