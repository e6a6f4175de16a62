"""operations/desk/reconcile.py, commands/reconcile.py: what a restored register lacks, by people's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from core import gaps, remembered
from core.audit_copy import AuditCopy
from core.certificates import Reservation
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database
from core.errors import Refused
from core.issuers import Issuer, put_issuer
from operations.cli import application
from operations.desk import local_api
from operations.desk import reconcile as operator
from operations.process import Exit
from repo_static.store import Store
from status.ocsp.index.index import Index
from status.restored.register import RestoredRegister
from tests.support.database import NOW, opened

wakes: list[str] = []
DAY = 86400
pytestmark = pytest.mark.clause("CPS 5.7.4")


class NoIssuance:
    async def reconcile(self) -> None:
        wakes.append("journal")


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path)
    made.run.mkdir()
    made.repository.mkdir()
    wakes.clear()
    return made


@pytest.fixture
async def database(data: DataDirectory) -> AsyncIterator[Database]:
    async with opened(data.root, FakeClock(NOW)) as database:
        register = RestoredRegister(
            database,
            Store(data.repository),
            AuditCopy(data.audit),
            Index(data.answers, FakeClock(NOW)),
            FakeClock(NOW),
            marker=data.restored,
            mark=data.register_mark,
        )
        server = local_api.server(database, lambda: None, lambda: None)
        issuance: Any = NoIssuance()
        operator.serve(server, database, register, issuance, lambda: wakes.append("revoked"))
        await server.listen(data.app_socket)
        yield database
        await server.close()


async def reconcile(data: DataDirectory, *arguments: str) -> Result:
    """In a thread: the command line has a loop of its own."""
    whole = ["reconcile", *arguments, "--data", str(data.root)]
    return await asyncio.to_thread(CliRunner().invoke, application, whole)


async def test_without_a_gap_it_says_that_the_ca_is_open(database: Database, data: DataDirectory) -> None:
    shown = await reconcile(data)
    assert shown.exit_code == Exit.DONE
    assert "the CA is open" in shown.output


async def test_it_says_what_is_missing_and_what_brings_it(database: Database, data: DataDirectory) -> None:
    await database.write(lambda tx: gaps.revocations_unknown(tx, NOW, "a test"))
    shown = await reconcile(data)
    assert shown.exit_code == Exit.REFUSED
    assert "THE CA IS CLOSED" in shown.output
    assert "put the newest audit/ back" in shown.output
    found = json.loads((await reconcile(data, "--json")).output)
    assert [each["subject"] for each in found["missing"]] == ["revocations"]


async def test_it_says_beforehand_how_many_certificates_would_be_revoked(
    database: Database, data: DataDirectory
) -> None:
    await database.write(lambda tx: put_issuer(tx, Issuer("ec1", "issuing", "ec-p256", b"der", b"", 1)))
    for serial in (b"\x01", b"\x02"):
        known = Reservation(
            *(remembered.id_of(serial), serial, "ec1", 0, None, None, "", ("*",), b"", NOW, NOW + DAY, {})
        )
        await database.write(lambda tx, known=known: remembered.enter(tx, known))
        await database.write(lambda tx, serial=serial: remembered.forgotten(tx, serial))
    assert "these    2 now" in (await reconcile(data)).output
    (told,) = json.loads((await reconcile(data, "--json")).output)["missing"]
    assert told["revokes"] == 2
    assert "2 certificates revoked" in (await reconcile(data, "--accept", "no newer backup")).output


async def test_a_persons_word_is_recorded_with_his_name(database: Database, data: DataDirectory) -> None:
    await database.write(lambda tx: gaps.revocations_unknown(tx, NOW, "a test"))
    shown = await reconcile(data, "--accept", "the mirrors have nothing newer")
    assert shown.exit_code == Exit.DONE
    row = database.reader.one("SELECT * FROM register_gaps")
    assert row is not None
    assert row["closed_by"].startswith("operator ")
    assert row["closed_how"] == "accepted: the mirrors have nothing newer"
    assert wakes == ["revoked"]


async def test_an_accepted_journal_is_read_at_once(database: Database, data: DataDirectory) -> None:
    await database.write(lambda tx: gaps.found(tx, gaps.JOURNAL, "x", "y", {"sequence": 1, "hash": ""}))
    await reconcile(data, "--accept", "the disk burnt")
    assert wakes == ["journal", "revoked"]


async def test_what_is_no_crl_is_refused_with_a_remedy(
    database: Database, data: DataDirectory, tmp_path: Path
) -> None:
    (tmp_path / "page").write_text("<html>404</html>")
    shown = await reconcile(data, "--crl", str(tmp_path / "page"))
    assert shown.exit_code == Exit.REFUSED
    assert "fetch it again" in shown.output
    shown = await reconcile(data, "--crl", str(tmp_path / "nothing"))
    assert shown.exit_code == Exit.CONFIGURATION
    assert "cannot be read" in shown.output


async def test_a_running_ca_is_closed_at_once(database: Database, data: DataDirectory) -> None:
    shown = await reconcile(data, "--restored")
    assert shown.exit_code == Exit.REFUSED
    assert [gap.subject for gap in gaps.are_open(database.reader)] == ["restored"]


async def test_a_ca_at_rest_is_closed_from_its_next_start_on(data: DataDirectory) -> None:
    shown = await reconcile(data, "--restored")
    assert shown.exit_code == Exit.DONE
    assert data.restored.exists()
    async with opened(data.root, FakeClock(NOW)) as database:
        register = RestoredRegister(
            database,
            Store(data.repository),
            AuditCopy(data.audit),
            Index(data.answers, FakeClock(NOW)),
            FakeClock(NOW),
            marker=data.restored,
            mark=data.register_mark,
        )
        assert [gap.subject for gap in await register.look()] == ["restored"]
        assert not data.restored.exists()
        assert [gap.subject for gap in await register.look()] == ["restored"]


async def test_a_list_that_is_not_to_be_had_does_not_keep_the_others_from_the_register(
    database: Database, data: DataDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought: list[str] = []

    def bring(data: DataDirectory, kind: str, der: bytes, *, name: str = "", key: str = "") -> Any:
        brought.append(name or kind)
        if der == b"cut":
            raise Refused("outside.list-digest", "it is not what the manifest says")
        wanted = ("history.jsonl", "missing.jsonl", "today.jsonl") if kind == "manifest" else ()
        return operator.PutBack(0, 0, wanted=wanted)

    monkeypatch.setattr(operator, "bring", bring)
    for name, content in (("manifest.jws", b"{}"), ("history.jsonl", b"cut"), ("today.jsonl", b"")):
        (tmp_path / name).write_bytes(content)
    shown = await reconcile(data, "--manifest", str(tmp_path / "manifest.jws"))
    assert brought == ["manifest", "history.jsonl", "today.jsonl"]
    assert "it is not what the manifest says; nothing was learnt" in shown.stderr
    assert "missing.jsonl cannot be read" in shown.stderr
    assert shown.exit_code == Exit.DONE
