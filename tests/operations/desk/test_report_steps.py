"""operations/desk/report_steps.py: one command for a flood of reports, and each of them on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core import report_rows
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.problem_reports import Channel, Filed, Kind
from core.randomness import SystemRandomness
from operations.cli import application
from operations.desk import local_api, problem_reports
from operations.desk.report_steps import AT_ONCE
from operations.process import Exit
from tests.operations.reporting import issue
from tests.support.database import NOW, opened

FLOOD = AT_ONCE + 1
KEY = "ab" * 32


def number(at: int) -> str:
    return f"PR-20261123-{at:010}"


class Desk:
    """An app's database, its socket, and reports that strangers made."""

    def __init__(self, data: DataDirectory, database: Database) -> None:
        self.data = data
        self.database = database

    async def file(self, *reports: Filed) -> None:
        def unit(tx: Transaction) -> None:
            for each in reports:
                report_rows.insert(tx, each, actor="a test")

        await self.database.write(unit)

    async def command(self, *words: str) -> Result:
        whole = ["reports", *words, "--data", str(self.data.root)]
        return await asyncio.to_thread(CliRunner().invoke, application, whole)

    def rows(self) -> list[report_rows.Report]:
        return sorted(report_rows.newest(self.database.reader, 1000), key=lambda each: each.filed.number)

    def audited(self, step: str) -> list[str]:
        found = self.database.reader.all(
            "SELECT content FROM audit WHERE kind = ? ORDER BY sequence", (f"problem-report-{step}",)
        )
        return [json.loads(row["content"])["number"] for row in found]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    data = DataDirectory(tmp_path)
    data.run.mkdir()
    async with opened(data.root, FakeClock(NOW)) as database:
        server = local_api.server(database, lambda: None, lambda: None)
        problem_reports.serve(server, database, SystemRandomness(), lambda: None)
        await server.listen(data.app_socket)
        yield Desk(data, database)
        await server.close()


def filed(at: int, kind: Kind = Kind.MISUSE, language: str = "en", serials: Sequence[str] = ()) -> Filed:
    named = (tuple(serials), (), ("shop.example",))
    return Filed(number(at), NOW - at, Channel.PAGE, kind, language, *named, "It is bad.", "x@y.example")


@pytest.mark.clause("BR 4.9.5")
@pytest.mark.clause("requirements 2.57")
async def test_a_flood_is_answered_by_one_command_and_each_report_is_on_record(desk: Desk) -> None:
    await desk.file(*(filed(at, language="ja" if at % 2 else "en") for at in range(FLOOD)))
    await desk.file(filed(900, Kind.OTHER))
    words = ("--name", "SHOP.example", "--kind", "misuse", "--text", "We look.", "--text-ja", "調査します。")
    told = ("--told", "the page")
    would = await desk.command("answer", *words, *told, "--dry-run")
    assert f"{FLOOD} reports would be answered" in would.stdout
    assert all(each.answered_at is None for each in desk.rows())
    done = await desk.command("answer", *words, *told, "--yes")
    assert done.exit_code == Exit.DONE, done.output
    assert desk.audited("answered") == [number(at) for at in reversed(range(FLOOD))]  # the oldest first
    answers = [each.answer for each in desk.rows()]
    assert answers[:2] == ["We look.", "調査します。"]
    assert (len([each for each in answers if each]), answers[-1]) == (FLOOD, "")


async def test_nobody_is_asked_twice_for_one_and_nothing_is_done_with_several_unasked(desk: Desk) -> None:
    await desk.file(filed(1), filed(2))
    before = desk.rows()
    for words in (
        ("answer", number(1), number(2), "--text", "x", "--told", "y"),
        ("decide", "--kind", "misuse", "--nothing", "--note", "x"),
    ):
        refused = await desk.command(*words)
        assert refused.exit_code == Exit.CONFIGURATION
        assert "--yes does it with these 2 reports" in refused.stderr
    assert desk.rows() == before
    assert desk.audited("answered") == desk.audited("decided") == []
    assert (await desk.command("answer", number(1), "--text", "x", "--told", "y")).exit_code == Exit.DONE


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "nothing is chosen"),
        ((number(1), "--kind", "misuse"), "not both"),
        (("--name", "other.example"), "no open report"),
        (("--key", KEY), "no open report"),
        (("--decided", "misuse"), "no open report"),
        ((number(1), number(3), "--yes"), ""),
    ],
)
async def test_what_chooses_nothing_or_everything_is_refused(
    desk: Desk, words: tuple[str, ...], says: str
) -> None:
    await desk.file(filed(1))
    refused = await desk.command("close", *words, "--note", "x")
    assert refused.exit_code in (Exit.CONFIGURATION, Exit.REFUSED)
    assert says in refused.stderr
    assert desk.audited("closed") == []


@pytest.mark.clause("BR 4.9.1.1")
@pytest.mark.clause("requirements 2.55")
async def test_one_run_revokes_for_all_of_them_and_its_clock_is_the_earliest(desk: Desk) -> None:
    serials = [(await issue(desk.database, bytes([at]) * 32)).hex() for at in range(3)]
    await desk.file(
        filed(1, serials=serials[:1]), filed(7, serials=serials[:2]), filed(3, serials=serials[2:])
    )
    words = ("decide", "--name", "shop.example", "--cause", "misuse", "--note", "seen it")
    would = await desk.command(*words, "--dry-run")
    assert "3 reports would be decided" in would.stdout
    assert "revoked for it: 3" in would.stdout
    assert desk.database.reader.one("SELECT 1 FROM revocation_runs") is None
    done = await desk.command(*words, "--yes")
    assert done.exit_code == Exit.DONE, done.output
    (run,) = desk.database.reader.all("SELECT * FROM revocation_runs")
    assert (run["learned_at"], run["total"]) == (NOW - 7, 3)
    assert {each.run_id for each in desk.rows()} == {run["id"]}
    assert len(desk.audited("decided")) == 3


async def test_a_report_that_names_a_domain_alone_tells_what_finds_its_certificates(desk: Desk) -> None:
    await desk.file(filed(1), filed(2, serials=[(await issue(desk.database, bytes(32))).hex()]))
    find = "acme-server revoke --name shop.example --dry-run"
    assert find in (await desk.command("show", number(1))).stdout
    assert find not in (await desk.command("show", number(2))).stdout


@pytest.mark.parametrize("how", ["--dry-run", "--yes"])
async def test_a_dry_run_refuses_what_would_be_refused(desk: Desk, how: str) -> None:
    await desk.file(filed(1), filed(2))
    words = ("decide", "--name", "shop.example", "--cause", "misuse", "--note", "seen it")
    done = await desk.command(*words, how)
    assert done.exit_code == Exit.REFUSED
    assert "no certificate of ours is named" in done.output
    assert {each.decided_at for each in desk.rows()} == {None}


async def test_those_with_which_it_cannot_be_done_are_left_alone_and_named(desk: Desk) -> None:
    await desk.file(filed(1), filed(2))
    for at in (1, 2):
        await desk.command("answer", number(at), "--text", "No.", "--told", "mail")
    await desk.command("decide", number(1), "--nothing", "--note", "no substance")
    done = await desk.command("close", number(1), number(2), "--note", "no substance", "--yes")
    assert done.exit_code == Exit.REFUSED
    assert f"left alone  {number(2)}: decide first" in done.stdout
    assert [each.closed_at is not None for each in desk.rows()] == [True, False]
    assert desk.audited("closed") == [number(1)]


@pytest.mark.clause("BR 4.9.12")
async def test_what_a_proof_has_decided_is_not_decided_away_with_the_rest(desk: Desk) -> None:
    proven = replace(filed(1), keys=(KEY,))
    await desk.file(proven, replace(filed(2), keys=(KEY,)))

    def prove(tx: Transaction) -> None:
        report_rows.prove(tx, number(1), bytes.fromhex(KEY))
        report_rows.decide(tx, number(1), "key-compromise", "")

    await desk.database.write(prove)
    done = await desk.command("decide", "--key", KEY, "--nothing", "--note", "x", "--yes")
    assert done.exit_code == Exit.REFUSED
    assert f"{number(1)}: its key compromise is proven" in done.stdout
    assert [each.cause for each in desk.rows()] == ["key-compromise", ""]
    assert desk.audited("decided") == [number(2)]
