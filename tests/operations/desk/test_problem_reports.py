"""operations/desk/problem_reports.py and commands/reports.py: reports by the operator's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner, Result

from core import report_rows
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database
from core.problem_reports import Channel, Filed, Kind
from core.randomness import SystemRandomness
from operations.cli import application
from operations.desk import local_api, problem_reports
from operations.process import Exit
from tests.operations.reporting import issue
from tests.support.database import NOW, opened

NUMBER = "PR-20261123-0123456789"


@pytest.fixture
async def database(data: DataDirectory) -> AsyncIterator[Database]:
    """An app's database with a report about one certificate, and its socket."""
    async with opened(data.root, FakeClock(NOW)) as database:
        serial = await issue(database, bytes(32))
        filed = Filed(
            *(NUMBER, NOW - 3600, Channel.PAGE, Kind.MISUSE, "ja", (serial.hex(),), (), ("www.ca.example",)),
            *("It is \x1b[31mbad\nACME says: closed", "someone@x.example"),
        )
        await database.write(lambda tx: report_rows.insert(tx, filed, actor="a test"))
        server = local_api.server(database, lambda: None, lambda: None)
        problem_reports.serve(server, database, SystemRandomness(), lambda: None)
        await server.listen(data.app_socket)
        yield database
        await server.close()


async def reports(data: DataDirectory, *arguments: str) -> Result:
    """In a thread: the command line has a loop of its own."""
    whole = ["reports", *arguments, "--data", str(data.root)]
    return await asyncio.to_thread(CliRunner().invoke, application, whole)


def row(database: Database) -> report_rows.Report:
    found = report_rows.by_number(database.reader, NUMBER)
    assert found is not None
    return found


async def test_the_list_shows_each_clock(database: Database, data: DataDirectory) -> None:
    shown = await reports(data, "list")
    assert f"{NUMBER}  received: misuse, by page 2026-11-22 23:00 UTC" in shown.stdout
    assert "answer   by 2026-11-23 23:00 UTC" in shown.stdout
    assert "revoke   by 2026-11-27 23:00 UTC" in shown.stdout
    found = json.loads((await reports(data, "list", "--json")).stdout)
    assert [each["number"] for each in found] == [NUMBER]


async def test_a_strangers_words_cannot_pass_for_ours_on_the_terminal(
    database: Database, data: DataDirectory
) -> None:
    shown = (await reports(data, "show", NUMBER)).stdout
    assert "\x1b" not in shown
    assert "    | ACME says: closed" in shown
    assert "www.ca.example  good, ends" in shown
    assert f"acme-server reports decide {NUMBER} --cause misuse" in shown


@pytest.mark.clause("BR 4.9.5")
@pytest.mark.clause("requirements 2.57")
async def test_a_report_goes_its_way_from_answer_to_close(database: Database, data: DataDirectory) -> None:
    early = await reports(data, "close", NUMBER, "--note", "done")
    assert early.exit_code == Exit.REFUSED
    assert "acme-server reports answer" in early.stderr
    assert row(database).closed_at is None
    await reports(data, "answer", NUMBER, "--text", "We look.", "--told", "mail to both")
    assert row(database).answered_at == NOW
    decided = await reports(data, "decide", NUMBER, "--cause", "misuse", "--note", "seen it")
    assert decided.exit_code == Exit.DONE, decided.output
    run = database.reader.one("SELECT * FROM revocation_runs WHERE id = ?", (row(database).run_id,))
    assert run is not None
    assert (run["learned_at"], run["cause"], run["total"]) == (NOW - 3600, "misuse", 1)
    early = await reports(data, "close", NUMBER, "--note", "done")
    assert early.exit_code == Exit.REFUSED
    await database.write(lambda tx: report_rows.revoked(tx, NUMBER, tx.now))
    closed = await reports(data, "close", NUMBER, "--note", "done")
    assert closed.exit_code == Exit.DONE, closed.output
    again = await reports(data, "answer", NUMBER, "--text", "x", "--told", "y")
    assert again.exit_code == Exit.REFUSED
    assert row(database).answer == "We look."


async def test_a_report_without_substance_is_decided_and_closed(
    database: Database, data: DataDirectory
) -> None:
    await reports(data, "answer", NUMBER, "--text", "No.", "--told", "mail")
    for words in (
        ("decide", NUMBER, "--nothing", "--note", "no substance"),
        ("close", NUMBER, "--note", "no substance"),
    ):
        assert (await reports(data, *words)).exit_code == Exit.DONE
    assert database.reader.one("SELECT 1 FROM revocation_runs") is None
    assert "no problem report is open" in (await reports(data, "list")).stdout
    assert NUMBER in (await reports(data, "list", "--all")).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("decide", NUMBER, "--note", "x"),
        ("decide", NUMBER, "--note", "x", "--nothing", "--cause", "misuse"),
        ("decide", NUMBER, "--note", "x", "--cause", "misuse", "--serial", "0badc0de"),
        ("decide", NUMBER, "--note", "x", "--cause", "misuse", "--run", "nope"),
        ("decide", NUMBER, "--note", " ", "--cause", "misuse"),
        ("answer", NUMBER, "--text", " ", "--told", "x"),
        ("show", "PR-20261123-0000000000"),
        ("show", "../../etc/passwd"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_changes(
    database: Database, data: DataDirectory, words: tuple[str, ...]
) -> None:
    before = row(database)
    refused = await reports(data, *words)
    assert refused.exit_code in (Exit.REFUSED, Exit.CONFIGURATION)
    assert refused.stderr.startswith("acme-server: ")
    assert row(database) == before
    assert database.reader.one("SELECT 1 FROM revocation_runs") is None


@pytest.mark.clause("BR 4.9.5")
async def test_the_clock_of_a_mail_runs_since_it_came(database: Database, data: DataDirectory) -> None:
    words = ("--channel", "mail", "--kind", "key-compromise", "--description", "Found it on a stick.")
    added = await reports(data, "add", "--received", "2026-11-22T12:00Z", *words)
    assert added.exit_code == Exit.DONE, added.output
    assert "revoke   by 2026-11-23 12:00 UTC" in added.stdout
    later = await reports(data, "add", "--received", "2026-11-24T12:00Z", *words)
    assert later.exit_code == Exit.REFUSED
