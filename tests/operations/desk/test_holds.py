"""operations/desk/holds.py and commands/holds.py: the orders that wait, by the operator's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from acme_server import jws
from acme_server.objects import Account, Order
from acme_server.registration import holds as rules
from acme_server.states import AccountStatus, OrderStatus
from acme_server.store import accounts, orders
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.settings import Settings
from operations.cli import application
from operations.desk import holds as operator
from operations.desk import local_api
from operations.process import Exit
from tests.support.acme_client import ec_key, jwk
from tests.support.database import NOW, opened

BASE = "https://ca.test"
wakes: list[str] = []


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path)
    made.run.mkdir()
    wakes.clear()
    return made


@pytest.fixture
async def database(data: DataDirectory) -> AsyncIterator[Database]:
    """An app's database with two orders that wait, and its socket."""
    async with opened(data.root, FakeClock(NOW)) as database:
        await database.write(two_orders_wait)
        server = local_api.server(database, lambda: None, lambda: None)
        operator.serve(server, database, Settings(), lambda: wakes.append("jobs"))
        await server.listen(data.app_socket)
        yield database
        await server.close()


def two_orders_wait(tx: Transaction) -> None:
    """For a person."""
    account = Account(
        "a1", f"{BASE}/acme/account/a1", AccountStatus.VALID, ("mailto:x@example.com",), "1", NOW
    )
    accounts.insert(tx, account, jws.public_key(dict(jwk(ec_key()))))
    for id in ("o1", "o2"):
        name = f"{id}.bank.example.com"
        made = Order(
            id, "a1", OrderStatus.PROCESSING, (name,), "tlsserver", NOW + 86400, NOW, None, None, None
        )
        orders.insert(tx, made, [])
        rules.hold(tx, made, {name: "bank.example.com"})


async def holds(data: DataDirectory, *arguments: str) -> Result:
    """In a thread: the command line has a loop of its own."""
    whole = ["holds", *arguments, "--data", str(data.root)]
    return await asyncio.to_thread(CliRunner().invoke, application, whole)


def status(database: Database, id: str) -> str:
    return str(database.reader.all("SELECT status FROM orders WHERE id = ?", (id,))[0]["status"])


@pytest.mark.clause("BR 4.2.1")
async def test_the_list_says_what_a_person_needs_to_judge(database: Database, data: DataDirectory) -> None:
    shown = await holds(data, "list")
    assert shown.exit_code == 0, shown.output
    for part in (
        "o1  since 2026-11-23 00:00 UTC, ends 2026-11-24 00:00 UTC",
        "names    o1.bank.example.com (profile tlsserver)",
        "because  o1.bank.example.com (bank.example.com)",
        f"account  {BASE}/acme/account/a1 mailto:x@example.com",
    ):
        assert part in shown.stdout
    found = json.loads((await holds(data, "list", "--json")).stdout)
    assert [each["order_id"] for each in found] == ["o1", "o2"]
    assert (found[0]["held_at"], found[0]["expires"]) == (NOW, NOW + 86400)


@pytest.mark.clause("BR 4.2.1")
async def test_an_order_is_approved_by_its_url_and_the_jobs_are_woken(
    database: Database, data: DataDirectory
) -> None:
    done = await holds(data, "approve", f"{BASE}/acme/order/o1", "--note", "asked by telephone")
    assert done.stdout == "approved: the order for o1.bank.example.com\n"
    assert wakes == ["jobs"]
    (job,) = database.reader.all("SELECT run_at FROM jobs WHERE subject = 'o1'")
    assert job["run_at"] == NOW
    (told,) = database.reader.all("SELECT * FROM audit WHERE kind = 'order.hold-approved'")
    assert told["subject"].startswith("operator ")
    assert [each["order_id"] for each in json.loads((await holds(data, "list", "--json")).stdout)] == ["o2"]


@pytest.mark.clause("BR 4.2.1")
async def test_an_order_is_refused_for_programs_too(database: Database, data: DataDirectory) -> None:
    done = await holds(data, "refuse", "o2", "--note", "a fraud", "--json")
    assert json.loads(done.stdout) == {
        "order": "o2",
        "decision": "refused",
        "names": ["o2.bank.example.com"],
    }
    assert status(database, "o2") == "invalid"
    assert status(database, "o1") == "processing"


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("approve", "o3", "--note", "x"), "holds list"),
        (("refuse", "o3", "--note", "x"), "holds list"),
        (("approve", "o1", "--note", "  "), "--note"),
        (("approve", "o1", "--note", "x" * 1001), "--note"),
    ],
)
async def test_a_decision_that_cannot_be_is_refused_and_nothing_changes(
    database: Database, data: DataDirectory, arguments: tuple[str, ...], remedy: str
) -> None:
    before = database.reader.all("SELECT * FROM audit"), database.reader.all("SELECT * FROM holds")
    refused = await holds(data, *arguments)
    assert refused.exit_code == Exit.REFUSED
    assert remedy in refused.stderr
    after = database.reader.all("SELECT * FROM audit"), database.reader.all("SELECT * FROM holds")
    assert [[tuple(row) for row in each] for each in before] == [
        [tuple(row) for row in each] for each in after
    ]


async def test_when_none_waits_the_list_says_so(database: Database, data: DataDirectory) -> None:
    for id in ("o1", "o2"):
        await holds(data, "refuse", id, "--note", "x")
    assert (await holds(data, "list")).stdout == "no order waits for a person\n"


async def test_the_list_is_whole_when_it_is_longer_than_a_page(
    database: Database, data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "PAGE", 1)
    found = json.loads((await holds(data, "list", "--json")).stdout)
    assert [each["order_id"] for each in found] == ["o1", "o2"]


async def test_without_an_app_the_commands_say_so(data: DataDirectory) -> None:
    for arguments in (("list",), ("approve", "o1", "--note", "x")):
        refused = await holds(data, *arguments)
        assert refused.exit_code == Exit.NOT_RUNNING
        assert "no CA answers" in refused.stderr
