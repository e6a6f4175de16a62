"""operations/desk/issuer_causes.py, alarms/deadlines.py: an issuing CA is revoked within 7 days."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.causes import DAY
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database
from core.issuers import Issuer, put_issuer
from core.settings import Settings
from operations.alarms import deadlines
from operations.alarms.deadlines import DeadlineWatch
from operations.alarms.urgency import Urgency
from operations.cli import application
from operations.desk import issuer_causes, local_api
from operations.process import Exit
from repo_static import publisher
from repo_static.store import Store
from status.pages.published import Published
from tests.support.database import NOW, opened
from tests.support.software_vault import SoftwareVault

pytestmark = [pytest.mark.clause("BR 4.9.1.2"), pytest.mark.clause("requirements 2.56")]


@dataclass
class Desk:
    data: DataDirectory
    clock: FakeClock
    database: Database
    vault: SoftwareVault
    watch: DeadlineWatch

    async def command(self, *words: str) -> Result:
        whole = ["issuers", *words, "--data", str(self.data.root)]
        return await asyncio.to_thread(CliRunner().invoke, application, whole)

    async def urgency(self) -> Urgency:
        (due,) = await self.watch.look()
        return due.urgency(self.clock.now())

    def publish(self) -> None:
        publisher.publish(Store(self.data.repository), self.vault.description(), Settings())

    def audited(self) -> list[str]:
        found = self.database.reader.all(
            "SELECT kind FROM audit WHERE kind LIKE 'issuer-cause%' ORDER BY sequence"
        )
        return [row["kind"] for row in found]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    data, clock, vault = DataDirectory(tmp_path), FakeClock(NOW), SoftwareVault()
    data.run.mkdir()
    async with opened(tmp_path, clock) as database:
        ec1 = Issuer("ec1", "issuing", "ec-p256", vault.issuers["ec1"].der, b"", 1)
        await database.write(lambda tx: put_issuer(tx, ec1))
        server = local_api.server(database, lambda: None, lambda: None)
        issuer_causes.serve(server, database)
        await server.listen(data.app_socket)
        yield Desk(data, clock, database, vault, DeadlineWatch(database, Published(data.repository), clock))
        await server.close()


async def test_alarms_rise_at_half_and_four_fifths_of_seven_days_since_it_was_learned(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("learned", "ec1", "--note", "key found on a stick", "--learned-at", "2026-11-22T00:00Z")
    begun = await desk.command(*words)
    assert begun.exit_code == Exit.DONE, begun.output
    assert "ec1  to be revoked by 2026-11-29 00:00 UTC" in begun.stdout
    seen = {}
    for at in (NOW, NOW + 2.5 * DAY, NOW + 4.6 * DAY, NOW + 6 * DAY, NOW + 6 * DAY + 1):
        desk.clock.at = int(at)
        seen[desk.clock.at] = await desk.urgency()
    assert list(seen.values()) == [Urgency.CALM, Urgency.HALF, Urgency.MOST, Urgency.MOST, Urgency.OVER]
    told = [each.message for each in caplog.records if each.levelno == logging.CRITICAL]
    assert "issuing CA ec1 (BR 4.9.1.2)" in told[0]
    assert "revoke-issuer and root-crl" in told[0]
    assert deadlines.urgent(desk.database.reader, desk.clock.now())[0].what.startswith("issuing CA ec1")


async def test_the_clock_ends_by_itself_when_the_roots_public_crl_lists_it_and_not_before(
    desk: Desk,
) -> None:
    desk.publish()
    await desk.command("learned", "ec1", "--note", "x")
    assert await desk.urgency() is Urgency.CALM
    serial = desk.vault.issuers["ec1"].certificate.serial_number
    desk.vault.root_crl = desk.vault.make_root_crl(2, serial)
    assert await desk.urgency() is Urgency.CALM  # made, and not yet public
    desk.publish()
    assert await desk.watch.look() == []
    shown = json.loads((await desk.command("list", "--json")).stdout)
    assert shown[0]["ended_how"] == "crl/root-0.crl, number 2"
    assert desk.audited() == ["issuer-cause", "issuer-cause-ended"]


async def test_where_another_ca_is_the_superior_a_person_says_that_it_is_public(desk: Desk) -> None:
    await desk.command("learned", "ec1", "--note", "x")
    done = await desk.command("ended", "ec1", "--note", "ARL 17 of the superior")
    assert done.exit_code == Exit.DONE, done.output
    assert await desk.watch.look() == []
    assert "ARL 17 of the superior" in (await desk.command("list")).stdout
    assert (await desk.command("learned", "ec1", "--note", "once more")).exit_code == Exit.DONE


async def test_a_cause_that_was_none_is_told_apart_from_a_revocation(desk: Desk) -> None:
    await desk.command("learned", "ec1", "--note", "x", "--explanation", "https://ca.example/why")
    done = await desk.command("ended", "ec1", "--note", "the stick was another's", "--unfounded", "--json")
    assert json.loads(done.stdout)["revoked"] is False
    await desk.command("learned", "ec1", "--note", "x")
    done = await desk.command("ended", "ec1", "--note", "ARL 17", "--json")
    assert json.loads(done.stdout)["revoked"] is True


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("learned", "ec1", "--note", "x", "--explanation", "a page"), "no URL of a page"),
        (("learned", "ec7", "--note", "x"), "acme-server status"),
        (("learned", "ec1", "--note", "x", "--learned-at", "2026-11-24T00:00Z"), "later than now"),
        (("learned", "ec1", "--note", " "), "1 to 1000"),
        (("ended", "ec1", "--note", "x"), "no clock runs"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_changes(
    desk: Desk, words: tuple[str, ...], says: str
) -> None:
    refused = await desk.command(*words)
    assert refused.exit_code == Exit.REFUSED
    assert says in refused.stderr
    assert desk.audited() == []
    assert "no issuing CA has to be revoked" in (await desk.command("list")).stdout


async def test_a_clock_that_runs_is_not_begun_anew(desk: Desk) -> None:
    await desk.command("learned", "ec1", "--note", "x")
    desk.clock.at += DAY
    assert (await desk.command("learned", "ec1", "--note", "y")).exit_code == Exit.REFUSED
    (due,) = await desk.watch.look()
    assert due.since == NOW
