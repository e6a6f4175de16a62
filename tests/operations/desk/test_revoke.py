"""operations/desk/revoke.py and commands/revoke.py against a real app's socket and its job runner."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from acme_server.registration import revocation_run
from acme_server.registration.revocation_run import RevocationRun
from acme_server.store.selection import Selection
from core import revocations
from core.causes import Cause
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database
from core.jobs import JobRunner
from core.randomness import SystemRandomness
from operations.cli import application
from operations.desk import local_api, revoke
from operations.process import Exit
from tests.acme_server.test_revocation_run import ACCOUNT, put, revoked, serial_of
from tests.operations.desk.register import five_certificates
from tests.support.database import NOW, opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def database(data: DataDirectory, clock: FakeClock) -> AsyncIterator[Database]:
    """A register of five certificates, and an app that works on what it is asked."""
    async with opened(data.root, clock) as database:
        await database.write(five_certificates)
        handler = RevocationRun(database, lambda: None)
        jobs = JobRunner(database, clock, {revocation_run.KIND: handler}, at_any_time={revocation_run.KIND})
        server = local_api.server(database, lambda: None, jobs.wake)
        revoke.serve(server, database, clock, SystemRandomness(), jobs.wake)
        await server.listen(data.app_socket)
        running = asyncio.create_task(jobs.run())
        yield database
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()


Command = Callable[..., Any]


@pytest.fixture
def command(database: Database, data: DataDirectory) -> Command:
    async def run(*words: str, stdin: str = "") -> Any:
        given = [*words, "--data", str(data.root)]
        return await asyncio.to_thread(CliRunner().invoke, application, given, input=stdin)

    return run


@pytest.mark.clause("BR 4.9.1.1")
async def test_one_certificate_is_revoked_for_a_cause_which_sets_reason_and_deadline(
    command: Command, database: Database
) -> None:
    found = await command("revoke", serial_of(1).hex(), "--cause", "misuse", "--note", "report 4", "--json")
    assert found.exit_code == Exit.DONE, found.output
    told = json.loads(found.stdout)
    assert (told["phase"], told["counts"]["revoked"], told["reason"]) == ("ended", 1, 9)
    assert told["revoke_by"] == NOW + 5 * 86400
    assert revoked(database) == {serial_of(1): 9}


@pytest.mark.clause("BR 4.9.3")
async def test_a_clock_that_stepped_back_holds_up_no_revocation_in_bulk(
    command: Command, database: Database, clock: FakeClock
) -> None:
    clock.at -= 86400
    found = await command("revoke", "--account", f"{ACCOUNT}one", "--cause", "misissuance", "--yes")
    assert found.exit_code == Exit.DONE, found.output
    assert set(revoked(database)) == {serial_of(number) for number in range(3)}
    found = await command("revoke", serial_of(4).hex(), "--cause", "misuse")
    assert found.exit_code == Exit.DONE, found.output


async def test_colons_and_leading_zeroes_name_the_same_serial_number(
    command: Command, database: Database
) -> None:
    text = "00:" + serial_of(2).hex(":").upper()
    found = await command("revoke", text, "--cause", "subscriber-request", "--reason", "superseded")
    assert found.exit_code == Exit.DONE, found.output
    assert revoked(database) == {serial_of(2): 4}


async def test_a_dry_run_counts_and_changes_nothing(command: Command, database: Database) -> None:
    before = database.reader.all("SELECT COUNT(*) FROM audit")[0][0]
    found = await command("revoke", "--account", f"{ACCOUNT}one", "--dry-run", "--json")
    assert found.exit_code == Exit.DONE, found.output
    told = json.loads(found.stdout)
    assert (told["chosen"], told["revoked"], told["expired"]) == (3, 0, 0)
    assert set(told["samples"]) == {serial_of(number).hex() for number in range(3)}
    assert database.reader.all("SELECT COUNT(*) FROM audit")[0][0] == before
    assert database.reader.one("SELECT 1 FROM revocation_runs") is None


async def test_more_than_one_needs_somebody_who_agrees_to_the_number(
    command: Command, database: Database
) -> None:
    words = ("revoke", "--account", f"{ACCOUNT}one", "--cause", "unreliable-validation")
    refused = await command(*words)
    assert refused.exit_code == Exit.CONFIGURATION
    assert "--yes revokes these 3 certificates" in refused.output
    assert revoked(database) == {}
    agreed = await command(*words, "--yes")
    assert agreed.exit_code == Exit.DONE, agreed.output
    assert "3 revoked" in agreed.output
    assert set(revoked(database)) == {serial_of(number) for number in range(3)}


async def test_serial_numbers_come_from_a_file_or_a_pipe_with_comments(
    command: Command, database: Database, tmp_path: Path
) -> None:
    first, second = serial_of(0).hex(), serial_of(4).hex(":")
    lines = f"# the report of today\n{first}\n\n{second}  # the second\n{first}\n"
    found = await command("revoke", "--serials", "-", "--cause", "misissuance", "--yes", stdin=lines)
    assert found.exit_code == Exit.DONE, found.output
    assert set(revoked(database)) == {serial_of(0), serial_of(4)}


async def test_a_list_with_a_serial_number_that_is_none_of_ours_revokes_nothing(
    command: Command, database: Database
) -> None:
    found = await command("revoke", serial_of(0).hex(), "0badcafe", "--cause", "misissuance", "--yes")
    assert found.exit_code == Exit.REFUSED
    assert "0badcafe" in found.output
    assert revoked(database) == {}
    assert database.reader.one("SELECT 1 FROM revocation_runs") is None


async def test_what_is_revoked_already_is_refused_and_stands(command: Command, database: Database) -> None:
    await command("revoke", serial_of(0).hex(), "--cause", "subscriber-request")
    again = await command("revoke", serial_of(0).hex(), "--cause", "misuse")
    assert again.exit_code == Exit.REFUSED
    assert "1 revoked already" in again.output
    assert revoked(database) == {serial_of(0): 0}


@pytest.mark.clause("BR 7.2.2")
async def test_a_key_that_is_found_compromised_later_upgrades_and_is_blocked(
    command: Command, database: Database
) -> None:
    await command("revoke", serial_of(0).hex(), "--cause", "subscriber-request")
    found = await command("revoke", serial_of(0).hex(), "--cause", "key-compromise")
    assert found.exit_code == Exit.DONE, found.output
    assert "1 have the reason keyCompromise now" in found.output
    assert revoked(database) == {serial_of(0): revocations.KEY_COMPROMISE}
    assert database.reader.one("SELECT 1 FROM blocked_keys") is not None


@pytest.mark.clause("BR 4.9.5")
async def test_the_time_runs_from_when_the_ca_learned_of_it(command: Command, database: Database) -> None:
    words = ("revoke", serial_of(0).hex(), "--cause", "misuse", "--json")
    found = await command(*words, "--learned-at", "2026-11-20T12:00Z")
    assert json.loads(found.stdout)["revoke_by"] == 1795176000 + 5 * 86400
    later = await command(*words[:1], serial_of(1).hex(), *words[2:], "--learned-at", "2027-01-01")
    assert later.exit_code == Exit.REFUSED
    assert "later than now" in later.output
    assert set(revoked(database)) == {serial_of(0)}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "nothing is chosen"),
        (("0a0b", "--account", "x"), "not both"),
        (("--account", "x"), "--cause says why"),
        (("--issued", "yesterday..", "--cause", "misuse"), "ISO 8601"),
        (("--issued", "2026-11-08..2026-11-01", "--cause", "misuse"), "is not before"),
        (("--issued", "2026-11-08", "--cause", "misuse"), "FROM..UNTIL"),
        (("--key", "nothing", "--cause", "misuse"), "no such file"),
        (("--name", "*.shop.example", "--cause", "misuse"), "without *."),
        (("--serials", "nowhere", "--cause", "misuse"), "cannot be read"),
        (("-0a", "--cause", "misuse"), ""),
        (("0", "--cause", "misuse"), "positive"),
        (("--method", "http01", "--cause", "misuse"), "none of http-01, dns-01"),
        (("0a0b", "--cause", "misuse", "--reason", "stolen"), "keyCompromise"),
    ],
)
async def test_words_that_cannot_be_meant_are_refused_with_the_right_ones(
    command: Command, database: Database, words: tuple[str, ...], why: str
) -> None:
    found = await command("revoke", *words)
    assert found.exit_code in (Exit.CONFIGURATION, Exit.USAGE), found.output
    assert why in found.output
    assert "Traceback" not in found.output
    assert revoked(database) == {}


@pytest.mark.parametrize(
    ("option", "value"), [("--account", "one"), ("--issuer", "ec-9"), ("--binding", "nobody")]
)
async def test_a_condition_that_names_nothing_is_refused_and_not_counted_as_none(
    command: Command, database: Database, option: str, value: str
) -> None:
    for words in (("--dry-run",), ("--cause", "misissuance", "--yes")):
        found = await command("revoke", option, value, *words)
        assert found.exit_code == Exit.REFUSED
        assert f"{value!r}" in found.output
    assert database.reader.one("SELECT 1 FROM revocation_runs") is None


async def test_what_is_issued_after_the_count_is_not_revoked_with_it(
    data: DataDirectory, database: Database
) -> None:
    operator = revoke.Operator(data)
    chosen = Selection(issuer_id="ec-1")
    counted = await operator.count(chosen, lambda looked, rows: None)
    await database.write(lambda tx: put(tx, 9))
    decision = revoke.Decision(Cause.MISISSUANCE, None, "", None)
    run = await operator.begin(decision, chosen, counted.until)
    while run.ended_at is None:
        await asyncio.sleep(0.01)
        run = await operator.state(run.run_id)
    await operator.close()
    assert counted.chosen == run.counts.revoked == 5
    assert serial_of(9) not in revoked(database)


async def test_a_cause_fixes_its_reason(command: Command, database: Database) -> None:
    found = await command("revoke", serial_of(0).hex(), "--cause", "misuse", "--reason", "superseded")
    assert found.exit_code == Exit.REFUSED
    assert "misuse fixes the reason privilegeWithdrawn (BR 4.9.1.1 (7))" in found.output
    assert revoked(database) == {}


async def test_the_runs_are_listed_the_newest_first(command: Command) -> None:
    empty = await command("revocations")
    assert "nothing was revoked" in empty.output
    await command("revoke", serial_of(0).hex(), "--cause", "misuse")
    listed = await command("revocations")
    assert listed.exit_code == Exit.DONE
    assert "misuse (privilegeWithdrawn)" in listed.output
    run_id = listed.output.split()[0]
    watched = await command("revocations", run_id, "--json")
    assert json.loads(watched.stdout)["ended_at"] == NOW
    unknown = await command("revocations", "00000000")
    assert unknown.exit_code == Exit.REFUSED


async def test_without_a_running_ca_it_says_so(tmp_path: Path) -> None:
    found = await asyncio.to_thread(
        CliRunner().invoke, application, ["revocations", "--data", str(tmp_path / "none")]
    )
    assert found.exit_code == Exit.NOT_RUNNING
    assert "no CA answers" in found.output
