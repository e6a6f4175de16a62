"""operations/desk/limits.py and commands/limits.py: exceptions from rate limits, by the operator's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from acme_server.store import bindings
from acme_server.store.bindings import BindingKey
from core.data_directory import DataDirectory
from core.database import Transaction
from core.settings import Settings
from operations.cli import application
from operations.desk import limits, local_api
from operations.process import Exit
from tests.support.acme_client import AcmeClient
from tests.support.acme_front import Front, running


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """A front with the operator's socket; an account may order two names in 200 s."""

    def change(settings: Settings) -> Settings:
        bounds = replace(settings.limits, new_order_account=2, new_order_account_period=200)
        return replace(settings, limits=bounds)

    DataDirectory(tmp_path).run.mkdir()
    async with running(tmp_path, change) as opened:
        server = local_api.server(opened.database, lambda: None, lambda: None)
        limits.serve(server, opened.context)
        await server.listen(DataDirectory(tmp_path).app_socket)
        yield opened
        await server.close()


@pytest.fixture
async def client(front: Front) -> AcmeClient:
    """An account that is bound to the key "key-1"."""
    made = await front.subscriber()
    kid = made.kid

    def bind(tx: Transaction) -> None:
        bindings.insert(tx, BindingKey("key-1", "Hosting", True, 0, "", 0, None, None))
        tx.execute("UPDATE accounts SET binding_kid = 'key-1' WHERE url = ?", (kid,))

    await front.database.write(bind)
    return made


async def run(tmp_path: Path, *arguments: str) -> Result:
    """In a thread: the command line has a loop of its own."""
    whole = ["limits", *arguments, "--data", str(tmp_path)]
    return await asyncio.to_thread(CliRunner().invoke, application, whole)


async def test_an_exception_of_a_key_holds_at_once_for_each_of_its_accounts(
    front: Front, client: AcmeClient, tmp_path: Path
) -> None:
    assert (await client.order("a.example.com", "b.example.com")).status == 201
    assert (await client.order("c.example.com")).status == 429
    made = await run(
        tmp_path, "set", "new-order-account", "5", "--binding", "key-1", "--note", "ticket 7", "--json"
    )
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {
        "subject": "binding:key-1",
        "limit": "new-order-account",
        "count": 5,
        "period": 200,
        "note": "ticket 7",
    }
    assert (await client.order("c.example.com")).status == 201
    stranger = await front.subscriber()
    assert (await stranger.order("a.example.com", "b.example.com")).status == 201
    assert (await stranger.order("c.example.com")).status == 429
    (record,) = front.audit("limit.override-set")
    assert json.loads(record["content"])["count"] == 5
    assert record["subject"].startswith("operator ")

    shown = await run(tmp_path, "show", str(client.kid))
    assert "4 of 5 names in new orders of this account" in shown.stdout
    assert "[override of binding key-1]" in shown.stdout
    listed = await run(tmp_path, "list")
    assert listed.stdout.strip() == "binding key-1  new-order-account  5 in 200 s  ticket 7"


async def test_an_account_s_own_exception_goes_before_its_key_s_and_ends_when_it_is_cleared(
    front: Front, client: AcmeClient, tmp_path: Path
) -> None:
    account = ["--account", str(client.kid)]
    await run(tmp_path, "set", "new-order-account", "1", "--binding", "key-1", "--note", "few")
    await run(tmp_path, "set", "new-order-account", "0", *account, "--note", "none")
    for _ in range(5):
        assert (await client.order("a.example.com")).status == 201
    ended = await run(tmp_path, "clear", "new-order-account", *account)
    assert ended.stdout.startswith("ended: account ")
    assert (await client.order("a.example.com")).status == 201
    assert (await client.order("a.example.com")).status == 429
    await run(tmp_path, "clear", "--binding", "key-1")
    assert (await client.order("a.example.com")).status == 201
    assert len(front.audit("limit.override-cleared")) == 2
    assert "there is no exception" in (await run(tmp_path, "list")).stdout


async def test_show_tells_what_would_refuse_an_order_and_spends_nothing(
    client: AcmeClient, tmp_path: Path
) -> None:
    account = str(client.kid).rpartition("/")[2]
    for _ in range(5):
        free = await run(tmp_path, "show", str(client.kid), "a.example.com")
        assert "no limit would refuse an order of these names now" in free.stdout
    assert (await client.order("a.example.com", "b.example.com")).status == 201
    refused = await run(tmp_path, "show", str(client.kid), "A.example.com", "--json")
    shown = json.loads(refused.stdout)
    assert shown["account_url"].endswith(account)
    assert shown["refusal"].startswith("new-order-account: 2 names in new orders")
    limits_shown = {each["limit"] for each in shown["lines"]}
    assert {"new-order-account", "certificate-domain", "certificate-set"} <= limits_shown


@pytest.mark.parametrize(
    ("arguments", "code", "remedy"),
    [
        (["set", "new-order-account", "5", "--note", "n"], Exit.CONFIGURATION, "name either --account or"),
        (["set", "new-order-account", "5", "--binding", "key-2", "--note", "n"], Exit.REFUSED, "eab list"),
        (["set", "new-order-account", "5", "--account", "x", "--note", "n"], Exit.REFUSED, "no account x"),
        (["set", "orders", "5", "--binding", "key-1", "--note", "n"], Exit.REFUSED, "certificate-set"),
        (
            ["set", "new-account-address", "5", "--binding", "key-1", "--note", "n"],
            Exit.REFUSED,
            "name change-account",
        ),
        (["set", "certificate-set", "5", "--binding", "key-1", "--note", " "], Exit.REFUSED, "says why"),
        (["set", "certificate-set", "9999999", "--binding", "key-1", "--note", "n"], Exit.REFUSED, "a year"),
        (["clear", "certificate-set", "--binding", "key-1"], Exit.REFUSED, "limits list"),
        (["show", "nobody"], Exit.REFUSED, "no account nobody"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_remedy_and_nothing_changes(
    front: Front, client: AcmeClient, tmp_path: Path, arguments: list[str], code: Exit, remedy: str
) -> None:
    del client
    before = front.counts()
    refused = await run(tmp_path, *arguments)
    assert (refused.exit_code, remedy in refused.stderr) == (code, True), refused.output
    assert front.counts() == before


async def test_without_an_app_it_says_so(tmp_path: Path) -> None:
    assert (await run(tmp_path, "list")).exit_code == Exit.NOT_RUNNING
