"""operations/desk/documents.py and documents/: from a draft to a published version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database, Reader
from core.errors import ConfigurationError, HaltIssuance
from core.settings import Settings
from operations.cli import application
from operations.desk import local_api
from operations.desk.documents import Documents
from operations.documents import approvals, printing
from operations.documents.approvals import NOBODY
from operations.process import Exit
from operations.report import documents as said_by_status
from operations.report import practice
from repo_static.documents import text
from repo_static.documents.kinds import Document
from repo_static.store import Store
from tests.support.database import NOW, opened

DAY = 86400
TRY_OUT = Settings()
PRODUCTION = replace(
    TRY_OUT,
    deployment=replace(TRY_OUT.deployment, production=True),
    acme=replace(TRY_OUT.acme, trusted_proxies=("127.0.0.1",)),
    repository=replace(TRY_OUT.repository, report_url="https://pki.ca.example"),
)
NEW_NAME = replace(PRODUCTION, ca=replace(PRODUCTION.ca, caa_identities=("b.example",)))
NEW_VERSION = replace(NEW_NAME, ca=replace(NEW_NAME.ca, cps_version="1.1"))


class App:
    """What the app has of it, and its socket; `woken` counts publications."""

    def __init__(self, root: Path) -> None:
        self.data = DataDirectory(root)
        self.data.run.mkdir(exist_ok=True)
        self.clock = FakeClock(NOW)
        self.store = Store(self.data.repository)
        self.woken = 0

    @asynccontextmanager
    async def running(self, settings: Settings) -> AsyncIterator[Documents]:
        async with opened(self.data.root, self.clock) as database:
            self.database: Database = database
            documents = Documents(settings, self.store, database, self.clock)
            documents.on_change = self._wake
            await documents.start()
            server = local_api.server(database, lambda: None, lambda: None)
            documents.serve(server)
            await server.listen(self.data.app_socket)
            try:
                yield documents
            finally:
                await server.close()

    async def _wake(self) -> None:
        self.woken += 1

    async def command(self, *arguments: str, settings: Settings = PRODUCTION) -> Result:
        """In a thread: the command line has a loop of its own."""
        whole = ["documents", *arguments, "--data", str(self.data.root)]
        for key in ("caa_identities", "cps_version", "terms_version"):
            whole += ["--set", f"ca.{key}={json.dumps(getattr(settings.ca, key))}"]
        # A production file would need a token and more, which is no matter of these commands.
        if settings.deployment.production:
            whole += ["--config", str(self.production_file())]
        return await asyncio.to_thread(CliRunner().invoke, application, whole)

    def production_file(self) -> Path:
        path = self.data.root / "production.toml"
        path.write_text(
            '[deployment]\nproduction = true\n[acme]\ntrusted_proxies = ["127.0.0.1"]\n'
            '[repository]\nreport_url = "https://pki.ca.example"\n'
        )
        return path

    async def approve(self, version: str, settings: Settings = PRODUCTION, **changed: str) -> Result:
        document = Document(changed.pop("document", "cp-cps"))
        options = {
            "by": "the committee",
            "minutes": "2026-11",
            "summary_en": "A new name in CAA.",
            "summary_ja": "CAA の名称を追加。",
            "sha256": text.digest(text.drafts(document, settings)).hex(),
            "document": document.value,
        } | changed
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        return await self.command("approve", version, *flags, settings=settings)

    def rows(self) -> list[tuple[str, str, bool]]:
        found = self.database.reader.all("SELECT * FROM document_approvals ORDER BY document, version")
        return [(row["document"], row["version"], row["published_at"] is not None) for row in found]

    def audited(self) -> list[str]:
        found = self.database.reader.all(
            "SELECT kind FROM audit WHERE kind LIKE 'document.%' ORDER BY sequence"
        )
        return [row["kind"] for row in found]


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


async def test_a_try_out_starts_without_a_question_and_its_record_says_that_nobody_approved(app: App) -> None:
    async with app.running(TRY_OUT) as documents:
        assert documents.halted == ""
        assert app.rows() == [("cp-cps", "1.0", True), ("terms", "1", True)]
        approval = approvals.by_version(app.database.reader, Document.CP_CPS, "1.0")
        assert approval is not None
        assert approval.approved_by == approval.minutes == NOBODY
        assert app.store.read("cps/cp-cps-1.0.en.md")
        assert app.store.read("terms/terms-1.ja.html")
        assert "because this CA is not in production" in (app.store.read("cps/latest.en.md") or b"").decode()


async def test_outside_production_a_changed_practice_is_said_and_a_new_version_suffices(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    changed = replace(TRY_OUT, ca=replace(TRY_OUT.ca, caa_identities=("b.example",)))
    async with app.running(TRY_OUT):
        before = app.store.read("cps/cp-cps-1.0.en.md")
    async with app.running(changed) as documents:
        assert documents.halted == ""
        assert "ca.cps_version" in caplog.text
        assert app.store.read("cps/cp-cps-1.0.en.md") == before
    async with app.running(replace(changed, ca=replace(changed.ca, cps_version="1.1"))):
        assert app.store.read("cps/cp-cps-1.0.en.md") == before
        assert app.store.read("cps/changes-1.0-1.1.en.html")


@pytest.mark.clause("CPS 1.5.4")
async def test_what_a_try_out_published_without_a_question_suffices_for_no_production(app: App) -> None:
    async with app.running(replace(PRODUCTION, deployment=TRY_OUT.deployment)):
        pass
    settings = replace(PRODUCTION, ca=replace(PRODUCTION.ca, cps_version="2"))
    async with app.running(settings) as documents:
        await app.approve("2", settings)
        await app.command("publish", "2", settings=settings)
        trouble = documents.trouble(NOW)
        assert "terms" in trouble
        assert "without a committee" in trouble
        with pytest.raises(HaltIssuance):
            documents.require(NOW)


@pytest.mark.clause("CPS 1.5.4")
@pytest.mark.clause("requirements 1.05")
async def test_in_production_nothing_is_issued_before_both_documents_are_approved_and_published(
    app: App,
) -> None:
    async with app.running(PRODUCTION) as documents:
        assert app.rows() == []
        assert app.store.read("cps/latest.en.md") is None
        for document, version in ((Document.CP_CPS, "1.0"), (Document.TERMS, "1")):
            digest = text.digest(text.drafts(document, PRODUCTION)).hex()
            words = f"documents approve {version} --document {document} --sha256 {digest}"
            with pytest.raises(HaltIssuance, match=words):
                documents.require(app.clock.now())
            assert (await app.approve(version, document=document)).exit_code == Exit.DONE
            with pytest.raises(HaltIssuance, match=f"documents publish {version} --document {document}"):
                documents.require(app.clock.now())
            done = await app.command("publish", version, "--document", document)
            assert done.exit_code == Exit.DONE, done.output
        documents.require(app.clock.now())
        assert app.woken == 2
        assert app.audited() == ["document.approved", "document.published"] * 2
        now = app.clock.now()
        assert said_by_status(PRODUCTION, Reader(app.data.database), now) == ""
        assert "is not what cp-cps 1.0 says" in said_by_status(NEW_NAME, Reader(app.data.database), now)
        shown = await app.command("list")
        assert "practice and documents agree" in shown.output
        assert "by the committee; minutes: 2026-11" in shown.output


async def test_status_tells_what_the_running_app_says_and_not_what_other_settings_would(app: App) -> None:
    async def told(*settings: str) -> str:
        words = ["status", "--json", "--data", str(app.data.root), *settings]
        shown = await asyncio.to_thread(CliRunner().invoke, application, words)
        return str(json.loads(shown.output)["documents"])

    changed = replace(TRY_OUT, ca=replace(TRY_OUT.ca, caa_identities=("b.example",)))
    async with app.running(changed):
        assert await told() == ""
    assert "is not what cp-cps 1.0 says" in await told()
    assert await told("--set", 'ca.caa_identities=["b.example"]') == ""
    async with app.running(TRY_OUT):
        assert "is not what cp-cps 1.0 says" in await told("--set", 'ca.caa_identities=["b.example"]')
        listed = await app.command("list", settings=TRY_OUT)
        assert "is not what cp-cps 1.0 says" in listed.output
        assert "ISSUANCE HALTED" not in listed.output


def test_what_an_app_that_does_not_answer_would_say_is_not_known(app: App) -> None:
    assert "is not known: no CA answers in" in (practice(app.data, True) or "")
    assert practice(app.data, False) is None


@pytest.mark.clause("requirements 1.05")
@pytest.mark.clause("CPS 9.12.1")
async def test_a_version_without_approval_is_not_published_and_nothing_changes(app: App) -> None:
    async with app.running(PRODUCTION):
        refused = await app.command("publish", "1.0")
        assert refused.exit_code == Exit.REFUSED
        assert "no recorded approval" in refused.output
        assert "acme-server documents approve 1.0" in refused.output
        assert app.rows() == []
        assert not [name for name in app.store.names("cps") if "cp-cps" in name]


@pytest.mark.clause("CPS 2.3")
@pytest.mark.clause("requirements 2.86")
async def test_the_practice_changes_after_the_new_version_is_public_and_in_effect(app: App) -> None:
    async with app.running(PRODUCTION) as documents:
        await approve_both(app)
        # Approved and published by the old CA, with a day on which it begins to bind.
        assert (await app.approve("1.1", NEW_VERSION)).exit_code == Exit.DONE
        published = await app.command("publish", "1.1", "--effective", "2026-12-01")
        assert "published cps/cp-cps-1.1.en.md" in published.output
        documents.require(app.clock.now())
    async with app.running(NEW_NAME) as documents:  # the old version's number
        assert "is not what cp-cps 1.0 says" in documents.halted
        assert "ca.cps_version" in documents.halted
    async with app.running(NEW_VERSION) as documents:
        assert "takes effect at 2026-12-01 00:00 UTC" in documents.halted
        app.clock.at += 8 * DAY
        assert documents.halted == ""


@pytest.mark.clause("CPS 2.3")
async def test_the_systems_follow_a_newer_version_within_a_day_of_its_effect(app: App) -> None:
    async with app.running(PRODUCTION) as documents:
        await approve_both(app)
        await app.approve("1.1", NEW_VERSION)
        await app.command("publish", "1.1")
        app.clock.at += DAY - 1
        assert documents.halted == ""
        app.clock.at += 1
        assert "cp-cps 1.1 is in effect, but this CA runs by 1.0" in documents.halted


@pytest.mark.clause("requirements 2.79")
async def test_a_document_that_is_almost_a_year_old_asks_for_its_review(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with app.running(TRY_OUT):
        app.clock.at += 335 * DAY - 1
    async with app.running(TRY_OUT):
        assert "at most 365 may pass" not in caplog.text
        app.clock.at += 1
    async with app.running(TRY_OUT):
        assert "cp-cps 1.0 was published 335 days ago, and at most 365 may pass" in caplog.text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sha256": "00" * 32}, "what was approved is not what these settings say"),
        ({"sha256": "xyz"}, "no hexadecimal number"),
        ({"by": " "}, "--by must say something"),
        ({"minutes": ""}, "--minutes must say something"),
        ({"summary_ja": "x" * 1001}, "--summary-ja must say something, in 1 to 1000"),
    ],
)
async def test_an_approval_that_says_too_little_or_of_another_text_is_refused(
    app: App, changed: dict[str, str], words: str
) -> None:
    async with app.running(PRODUCTION):
        refused = await app.approve("1.0", **changed)
        assert refused.exit_code == Exit.REFUSED
        assert words in refused.output
        assert app.rows() == []
        assert app.audited() == []


async def test_nothing_is_approved_or_published_twice_and_no_version_takes_effect_before_it_is_public(
    app: App,
) -> None:
    async with app.running(PRODUCTION):
        assert (await app.approve("1.0")).exit_code == Exit.DONE
        assert "is approved already, and stays as it is" in (await app.approve("1.0")).output
        assert (
            "before it takes effect"
            in (await app.command("publish", "1.0", "--effective", "2020-01-01")).output
        )
        assert app.rows() == [("cp-cps", "1.0", False)]
        assert (await app.command("publish", "1.0")).exit_code == Exit.DONE
        again = await app.command("publish", "1.0")
        assert again.exit_code == Exit.REFUSED
        assert "already" in again.output
        wrong = await app.approve("1.7")
        assert "these settings state cp-cps 1.0, not 1.7" in wrong.output
        no_day = await app.command("publish", "1.0", "--effective", "tomorrow")
        assert no_day.exit_code == Exit.CONFIGURATION


async def test_what_was_published_is_public_again_after_the_files_are_lost(app: App) -> None:
    async with app.running(PRODUCTION):
        await approve_both(app)
        before = app.store.read("cps/cp-cps-1.0.en.md")
        (app.data.repository / "cps/cp-cps-1.0.en.md").unlink()
    async with app.running(PRODUCTION):
        assert app.store.read("cps/cp-cps-1.0.en.md") == before


async def test_a_draft_needs_no_running_ca_and_says_what_would_change(app: App, tmp_path: Path) -> None:
    first = await app.command("draft", "--out", str(tmp_path / "drafts"), "--json")
    found = json.loads(first.output)
    assert found["sha256"] == text.digest(text.drafts(Document.CP_CPS, PRODUCTION)).hex()
    assert found["findings"] == []
    japanese = text.drafts(Document.CP_CPS, PRODUCTION)["ja"]
    assert (tmp_path / "drafts/cp-cps-1.0.ja.md").read_text() == japanese
    async with app.running(PRODUCTION):
        await approve_both(app)
    changed = await app.command("draft", settings=NEW_VERSION)
    assert (
        "changed   2 paragraphs (English), 2 (Japanese)" not in changed.output
    )  # names stand in three places
    assert "findings  none" in changed.output
    difference = await app.command("diff", settings=NEW_VERSION)
    assert "+CAA records" in difference.output
    same = await app.command("diff")
    assert "the published text in en says what these settings say" in same.output
    shown = await app.command("show", "1.0", "--language", "ja")
    assert shown.output.startswith("# Example Private CA 証明書ポリシー")
    missing = await app.command("show", "9.9")
    assert missing.exit_code == Exit.REFUSED


async def test_a_published_version_is_printed_by_the_operators_program_once(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    fake = programs / "weasyprint"
    fake.write_text('#!/bin/sh\nprintf "%%PDF-1.7 of " >"$2"; grep -o "<h1>.*</h1>" "$1" >>"$2"\n')
    fake.chmod(0o755)
    async with app.running(TRY_OUT):
        missing = await app.command("pdf", "9.9", settings=TRY_OUT)
        assert missing.exit_code == Exit.REFUSED
        app.store.replace("style.css", b"")
        done = await app.command("pdf", "1.0", settings=TRY_OUT)
        assert "published cps/cp-cps-1.0.ja.pdf" in done.output, done.output
        assert b"Certification Practice" in (app.store.read("cps/cp-cps-1.0.en.pdf") or b"")
        assert "/cps/cp-cps-1.0.ja.pdf" in (app.store.read("cps/index.html") or b"").decode()
        assert "document.pdf" in app.audited()
        again = await app.command("pdf", "1.0", settings=TRY_OUT)
        assert "is public already, and stays" in again.output
        fake.write_text("#!/bin/sh\necho broken >&2; exit 3\n")
        broken = await app.command("pdf", "1", "--document", "terms", settings=TRY_OUT)
        assert "broken" in broken.output
        assert app.store.read("terms/terms-1.en.pdf") is None


def test_without_a_program_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="weasyprint, chromium"):
        printing.printer()


async def approve_both(app: App) -> None:
    for document, version in ((Document.CP_CPS, "1.0"), (Document.TERMS, "1")):
        assert (await app.approve(version, document=document)).exit_code == Exit.DONE
        assert (await app.command("publish", version, "--document", document)).exit_code == Exit.DONE
