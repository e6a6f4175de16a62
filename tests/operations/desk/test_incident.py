"""operations/desk/incident.py and commands/incident.py against a real app's socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from core import revocations
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database
from core.randomness import SystemRandomness
from core.settings import Settings
from operations import report
from operations.cli import application
from operations.desk import incident, local_api, revoke
from operations.process import Exit
from tests.acme_server.test_revocation_run import ACCOUNT, serial_of
from tests.operations.desk.register import five_certificates
from tests.support.database import NOW, opened

OPEN = ("incident", "open", "--title", "a fault of validation", "--renew-by", "2026-11-24T12:00Z")
Command = Callable[..., Any]


@pytest.fixture
async def database(data: DataDirectory) -> AsyncIterator[Database]:
    """A register of five certificates, three of them of account one."""
    clock = FakeClock(NOW)
    async with opened(data.root, clock) as database:
        await database.write(five_certificates)
        server = local_api.server(database, lambda: None, lambda: None)
        revoke.serve(server, database, clock, SystemRandomness(), lambda: None)
        incident.serve(server, database, clock, SystemRandomness())
        await server.listen(data.app_socket)
        yield database
        await server.close()


@pytest.fixture
def command(database: Database, data: DataDirectory) -> Command:
    async def run(*words: str, stdin: str = "") -> Any:
        given = [*words, "--data", str(data.root)]
        return await asyncio.to_thread(CliRunner().invoke, application, given, input=stdin)

    return run


def count(database: Database, table: str) -> int:
    return int(database.reader.all(f"SELECT COUNT(*) AS n FROM {table}")[0]["n"])


async def test_an_incident_from_its_opening_to_its_end(command: Command, database: Database) -> None:
    found = await command(*OPEN, "--account", f"{ACCOUNT}one", "--explanation", "https://ca.example/x")
    assert found.exit_code == Exit.DONE, found.output
    assert "3 certificates are put into" in found.stdout
    assert "clients that ask hear of it within 6 h" in found.stdout
    (id,) = [row["id"] for row in database.reader.all("SELECT id FROM incidents")]
    more = await command("incident", "add", id, "--serials", "-", stdin=f"{serial_of(3).hex()}\n")
    assert "1 certificates are put into" in more.stdout
    again = await command("incident", "add", id, serial_of(3).hex(), "--json")
    assert json.loads(again.stdout) == {"incident": id, "added": 0, "already": 1, "ended": 0}

    await database.write(lambda tx: revocations.revoke(tx, serial_of(1), 4, "test"))
    shown = await command("incident", "show", id, "--json")
    told = json.loads(shown.stdout)
    assert (told["left"], told["revoked"], told["replaced"], told["total"]) == (3, 1, 0, 4)
    assert (told["explanation_url"], told["renew_by"]) == ("https://ca.example/x", NOW + 36 * 3600)
    left = await command("incident", "show", id, "--serials", "left")
    assert set(left.stdout.split()) == {serial_of(number).hex() for number in (0, 2, 3)}
    assert "3 left" in (await command("incident", "show", id)).stdout

    assert "a fault of validation" in (await command("incident", "list")).stdout
    closed = await command("incident", "close", id)
    assert "closed 2026-11-23 00:00Z" in closed.stdout
    kinds = [row["kind"] for row in database.reader.all("SELECT kind, subject FROM audit ORDER BY sequence")]
    assert [kind for kind in kinds if kind.startswith("incident")] == [
        "incident.opened",
        "incident.certificates",
        "incident.certificates",
        "incident.closed",
    ]


async def test_a_dry_run_counts_and_opens_nothing(command: Command, database: Database) -> None:
    await database.write(lambda tx: revocations.revoke(tx, serial_of(0), 4, "test"))
    for chosen in (("--account", f"{ACCOUNT}one"), [serial_of(number).hex() for number in range(3)]):
        found = await command(*OPEN, *chosen, "--dry-run", "--json")
        assert json.loads(found.stdout) == {"chosen": 2, "revoked": 1, "expired": 0}
    assert count(database, "incidents") == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([*OPEN], Exit.CONFIGURATION, "nothing is chosen"),
        ([*OPEN, "0777"], Exit.REFUSED, "never issued here: 0777"),
        ([*OPEN, "--issuer", "ec-1", "01"], Exit.CONFIGURATION, "not both"),
        ([*OPEN[:-1], "tomorrow", "01"], Exit.CONFIGURATION, "is no time like"),
        ([*OPEN[:-1], "2026-11-01", "--issuer", "ec-1"], Exit.REFUSED, "this time is over"),
        (["incident", "add", "none", "--issuer", "ec-1"], Exit.REFUSED, "there is no incident 'none'"),
        (["incident", "show", "none"], Exit.REFUSED, "there is no incident 'none'"),
        (["incident", "show", "none", "--serials", "some"], Exit.CONFIGURATION, "is none of replaced"),
        (["incident", "close", "none"], Exit.REFUSED, "there is no incident 'none'"),
    ],
)
async def test_a_refusal_says_what_to_do_and_changes_nothing(
    command: Command, database: Database, words: list[str], code: Exit, says: str
) -> None:
    found = await command(*words)
    assert (found.exit_code, says in found.stderr) == (code, True), found.output
    assert count(database, "incidents") == count(database, "incident_serials") == 0


async def test_without_a_running_ca_it_says_so(data: DataDirectory) -> None:
    found = await asyncio.to_thread(
        CliRunner().invoke, application, ["incident", "list", "--data", str(data.root)]
    )
    assert (found.exit_code, "no CA answers" in found.stderr) == (Exit.NOT_RUNNING, True)


async def test_status_shows_open_incidents_only(
    command: Command, data: DataDirectory, database: Database
) -> None:
    await command(*OPEN, "--issuer", "ec-1")
    (shown,) = report._from_database(Settings(), data, NOW)["incidents"]
    assert (shown["title"], shown["certificates"]) == ("a fault of validation", 5)
    await command("incident", "close", shown["id"])
    assert report._from_database(Settings(), data, NOW)["incidents"] == []
