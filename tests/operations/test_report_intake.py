"""operations/report_intake.py and reports.py: from the spool to a published revocation."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core import blocked_keys, key_proofs, report_rows, revocations
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.issuers import Issuer, put_issuer
from core.key_proofs import Form, Proof, beginning
from core.problem_reports import Channel, Filed, Kind, State
from core.report_spool import MOST_OCTETS, Spool
from operations.alarms import reports
from operations.alarms.reports import ReportWatch
from operations.report_intake import Intake
from status.restored import put_back
from status.restored.outside import Said
from tests.operations.reporting import issue
from tests.support.acme_client import ec_key
from tests.support.database import NOW, opened
from tests.support.software_vault import Pair, SoftwareVault, at

CA = "http://ca.test"
NUMBER = "PR-20261123-0123456789"
DAY = 86400


def proof(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, ca: str = CA) -> Proof:
    return key_proofs.of_private_key(key, beginning(ca) + "2026-11-23T00:00:00Z | x")


def filed(number: str = NUMBER, proof: Proof | None = None, kind: Kind = Kind.KEY_COMPROMISE) -> Filed:
    return Filed(
        number, NOW, Channel.PAGE, kind, "en", (), (), (), "a secret word", "someone@x.example", proof
    )


@dataclass
class App:
    """The app's side, and the spool of the page."""

    data: DataDirectory
    clock: FakeClock
    database: Database
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data.reports.mkdir()
        self.spool = Spool(self.data.reports)
        self.intake = Intake(
            *(self.data.reports, self.database, CA),
            *(lambda: self.woken.append("crl"), lambda: self.woken.append("jobs")),
        )
        self.watch = ReportWatch(self.database, self.clock)

    def audit(self, kind: str) -> list[str]:
        found = self.database.reader.all("SELECT content FROM audit WHERE kind = ?", (kind,))
        return [row["content"] for row in found]

    def state(self, number: str = NUMBER) -> State:
        report = report_rows.by_number(self.database.reader, number)
        assert report is not None
        return report.state


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    clock = FakeClock(NOW)
    async with opened(tmp_path, clock) as database:
        yield App(DataDirectory(tmp_path), clock, database)


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.clause("requirements 2.60")
async def test_a_proven_compromise_revokes_all_its_certificates_and_blocks_the_key(app: App) -> None:
    key, other = ec_key(), ec_key()
    spki = hashlib.sha256(proof(key).spki).digest()
    serials = [await issue(app.database, spki) for _ in range(3)]
    spared = await issue(app.database, hashlib.sha256(proof(other).spki).digest())
    app.spool.put(filed(proof=proof(key)))
    assert await app.intake.look() == 1
    for serial in serials:
        revocation = revocations.of(app.database.reader, serial)
        assert revocation is not None
        assert revocation.reason == revocations.KEY_COMPROMISE
    assert revocations.of(app.database.reader, spared) is None
    assert blocked_keys.is_blocked(app.database.reader, spki)
    assert app.woken == ["crl", "jobs"]
    assert app.state() is State.DECIDED
    assert app.spool.waiting() == []


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.parametrize(
    "bent",
    [
        lambda p: replace(p, signature=p.signature[:-1] + b"\0"),
        lambda p: replace(p, spki=proof(ec_key()).spki),
        lambda p: replace(p, signed=p.signed + b"x"),
        lambda p: proof(ec_key(), "http://another.test"),
        lambda p: replace(p, form=Form.CSR),
        lambda p: replace(p, form=Form.JWS),
    ],
)
async def test_the_app_believes_no_proof_that_it_has_not_checked(app: App, bent: object) -> None:
    key = ec_key()
    serial = await issue(app.database, hashlib.sha256(proof(key).spki).digest())
    app.spool.put(filed(proof=bent(proof(key))))  # type: ignore[operator]
    assert await app.intake.look() == 1
    assert revocations.of(app.database.reader, serial) is None
    assert blocked_keys.all_blocked(app.database.reader) == []
    assert app.state() is State.RECEIVED
    assert len(app.audit("problem-report-no-proof")) == 1


def issued(key: ec.EllipticCurvePrivateKey, serial: bytes, by: Pair) -> bytes:
    """DER, by the software issuer or by a stranger with its name."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(serial))
        .not_valid_before(at(NOW))
        .not_valid_after(at(NOW + 90 * DAY))
    )
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)


async def put_back_without_its_key(app: App, issuer: Pair, serial: bytes, known: bool) -> None:
    said = Said(serial, "ec9", 0, NOW - 60, 4, NOW + 365 * DAY)

    def unit(tx: Transaction) -> None:
        put_issuer(tx, Issuer("ec9", "issuing", "ec-p256", issuer.der, b"", 1))
        if known:
            put_back.put_back(tx, said, "a CRL")

    await app.database.write(unit)


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.clause("CPS 5.7.4")
@pytest.mark.parametrize("known", [True, False])
async def test_the_certificate_itself_suffices_where_the_register_lost_its_key(app: App, known: bool) -> None:
    key, issuer, serial, other = ec_key(), SoftwareVault().issuers["ec1"], b"\x0a\x0b", b"\x0a\x0c"
    await put_back_without_its_key(app, issuer, serial, known)
    await put_back_without_its_key(app, issuer, other, known=True)
    app.spool.put(replace(filed(proof=proof(key)), certified=(issued(key, serial, issuer),)))
    assert await app.intake.look() == 1
    revocation = revocations.of(app.database.reader, serial)
    assert revocation is not None
    assert revocation.reason == revocations.KEY_COMPROMISE
    assert revocation.revoked_at == (NOW - 60 if known else NOW)
    spared = revocations.of(app.database.reader, other)
    assert spared is not None
    assert spared.reason == 4
    assert serial.hex() in app.audit("reconciled-key")[0]


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.parametrize("wrong", ["issuer", "key", "octets"])
async def test_the_app_believes_no_certificate_that_the_page_only_claims(app: App, wrong: str) -> None:
    key, issuer, serial = ec_key(), SoftwareVault().issuers["ec1"], b"\x0a\x0b"
    await put_back_without_its_key(app, issuer, serial, known=True)
    der = {
        "issuer": issued(key, serial, Pair(issuer.certificate, ec_key())),
        "key": issued(ec_key(), serial, issuer),
        "octets": b"no certificate",
    }[wrong]
    app.spool.put(replace(filed(proof=proof(key)), certified=(der,)))
    assert await app.intake.look() == 1
    revocation = revocations.of(app.database.reader, serial)
    assert revocation is not None
    assert revocation.reason == 4
    assert app.audit("reconciled-key") == []


async def test_a_report_is_taken_up_once_whenever_the_app_was_killed(app: App) -> None:
    app.spool.put(filed())
    assert await app.intake.look() == 1
    app.spool.put(filed())  # as if the file had outlived the commit
    assert await app.intake.look() == 0
    assert len(app.audit("problem-report-received")) == 1
    assert app.spool.waiting() == []


@pytest.mark.clause("CPS 9.4")
async def test_the_audit_log_and_the_log_hold_nothing_that_the_reporter_wrote(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app.spool.put(filed())
    await app.intake.look()
    told = " ".join(row["content"] for row in app.database.reader.all("SELECT content FROM audit"))
    assert NUMBER in told
    for private in ("a secret word", "someone@x.example"):
        assert private not in told + caplog.text


async def test_a_file_that_cannot_be_read_is_set_aside_and_the_others_are_taken(app: App) -> None:
    broken = app.data.reports / "PR-20261122-0000000000.json"
    broken.write_text("{")
    app.spool.put(filed())
    assert await app.intake.look() == 1
    assert broken.with_name(broken.name + ".unreadable").exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "directory", "huge", "another number", "no time"])
async def test_the_app_neither_hangs_nor_falls_over_what_a_report_is_not(app: App, kind: str) -> None:
    app.spool.put(filed())
    path = app.data.reports / "PR-20261122-0000000000.json"
    good = (app.data.reports / f"{NUMBER}.json").read_bytes()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "huge":
            path.write_bytes(good + b" " * MOST_OCTETS)
        case "another number":
            path.write_bytes(good)
        case _:
            path.write_bytes(
                good.replace(NUMBER.encode(), path.stem.encode()).replace(b"%d" % NOW, b"9" * 19)
            )
    assert await app.intake.look() == 1
    assert path.with_name(f"{path.name}.unreadable").is_symlink() == (kind == "link")
    assert app.spool.waiting() == []
    assert len(app.audit("problem-report-received")) == 1


@pytest.mark.clause("BR 4.9.3")
async def test_a_clock_that_stepped_back_keeps_no_report_and_no_revocation_waiting(app: App) -> None:
    key = ec_key()
    serial = await issue(app.database, hashlib.sha256(proof(key).spki).digest())
    app.clock.at -= 7200
    app.spool.put(filed(proof=proof(key)))
    assert await app.intake.look() == 1
    assert revocations.of(app.database.reader, serial) is not None
    await app.watch.look()
    assert app.state() is State.DECIDED


@pytest.mark.clause("BR 4.9.5")
async def test_the_clocks_begin_at_the_latest_when_the_report_is_taken_up(app: App) -> None:
    app.spool.put(replace(filed(), received_at=NOW + 10 * DAY))
    await app.intake.look()
    report = report_rows.by_number(app.database.reader, NUMBER)
    assert report is not None
    assert report.filed.received_at == NOW


async def test_reports_that_cannot_be_taken_up_now_do_not_end_the_app(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    await app.database.close()
    app.spool.put(filed())
    running = asyncio.create_task(app.intake.run())
    while "wait in the spool" not in caplog.text:
        await asyncio.sleep(0)
        assert not running.done()
    running.cancel()
    assert app.spool.waiting() == [NUMBER]


@pytest.mark.clause("BR 4.9.5")
@pytest.mark.clause("requirements 2.55")
async def test_alarms_are_raised_at_50_80_and_100_percent_once_each(app: App) -> None:
    app.spool.put(filed(kind=Kind.MISUSE))
    await app.intake.look()
    raised = []
    for hour in (11, 12, 13, 20, 24, 25, 59, 60, 97, 121):
        app.clock.at = NOW + hour * 3600
        await app.watch.look()
        raised.append(len(app.audit("problem-report-alarm")))
    assert raised == [0, 1, 1, 2, 3, 3, 3, 4, 5, 6]
    found = reports.standing(app.database.reader, app.clock.now())
    assert (found.open, found.late) == (1, 1)
    assert "TOO LATE" in reports.sentence(found)


async def test_a_flood_of_reports_has_its_alarms_in_pages_and_few_lines(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    count = reports.AT_ONCE + 1
    for number in range(count):
        app.spool.put(filed(f"PR-20261123-{number:010}"))
    assert await app.intake.look() == count
    app.clock.at = NOW + 13 * 3600
    for _ in range(2):
        await app.watch.look()
    assert len(app.audit("problem-report-alarm")) == 2 * count
    told = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert told[reports.MOST_LINES :] == [f"and {2 * count - 20} more: acme-server reports list"]


@pytest.mark.clause("BR 4.9.5")
async def test_the_clock_of_a_revocation_stops_only_when_it_is_published(app: App) -> None:
    key = ec_key()
    serial = await issue(app.database, hashlib.sha256(proof(key).spki).digest())
    app.spool.put(filed(proof=proof(key)))
    await app.intake.look()
    await app.watch.look()
    report = report_rows.by_number(app.database.reader, NUMBER)
    assert report is not None
    assert report.revoked_at is None
    app.clock.at = NOW + 100
    await app.database.write(
        lambda tx: tx.execute("UPDATE revocations SET published_at = ? WHERE serial = ?", (tx.now, serial))
    )
    await app.watch.look()
    report = report_rows.by_number(app.database.reader, NUMBER)
    assert report is not None
    assert report.revoked_at == NOW + 100


async def test_a_key_that_no_certificate_has_is_blocked_too(app: App) -> None:
    app.spool.put(filed(proof=proof(ec_key())))
    await app.intake.look()
    assert len(blocked_keys.all_blocked(app.database.reader)) == 1
    await app.watch.look()
    report = report_rows.by_number(app.database.reader, NUMBER)
    assert report is not None
    assert report.revoked_at == NOW
