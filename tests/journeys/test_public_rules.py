"""The public preset on loopback: public-looking names, the TLS lint set binding, no filter loosened."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from core.evidence import SignedStatement
from tests.support.books import Books
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import Certbot, load, ocsp, run, verify
from tests.support.ct_log import Fault, RunningLogs
from tests.world.world import World

pytestmark = pytest.mark.clause("BR 4.3.1.2")

PRESET = REPOSITORY / "deploy/public-loopback.toml"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLogs]:
    with RunningLogs(tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="module")
def public_ca(
    world: World, logs: RunningLogs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCa]:
    directory = tmp_path_factory.mktemp("public")
    running = RunningCa(
        directory,
        {
            **world.own_unbound(),
            # Certificates carry a public-looking URL, as the lints want; the server is on loopback.
            "repository.base_url": "http://pki.example.com",
            **logs.overrides(),
        },
        config=PRESET,
    )
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def certbot(public_ca: RunningCa, door: str, tmp_path: Path) -> Certbot:
    return Certbot(public_ca, tmp_path / "certbot", door)


def test_a_certificate_of_the_public_profile_passes_pkilints_tls_set(
    public_ca: RunningCa, certbot: Certbot, tmp_path: Path
) -> None:
    ran = certbot.http01("www.example.com")
    assert ran.code == 0, ran.output
    with Books(public_ca).database() as db:
        row = db.one("SELECT lint, names FROM certificates WHERE state = 'issued' AND names LIKE '%www.%'")
    assert row is not None
    assert json.loads(row["lint"])["findings"] == []
    # Judged once more from outside, by pkilint's own command with all its filters as they come.
    linter = Path(sys.executable).parent / "lint_cabf_serverauth_cert"
    leaf = certbot.certificate("www.example.com")
    linted = run([str(linter), "lint", "-d", "-s", "WARNING", str(leaf)], tmp_path)
    assert linted.code == 0, linted.output
    checked = verify(public_ca, leaf, certbot.chain("www.example.com"), "www.example.com")
    assert checked.code == 0, checked.output


def test_the_certificate_names_what_the_baseline_requirements_want_and_nothing_else(
    public_ca: RunningCa, certbot: Certbot
) -> None:
    name = "profile.example.com"
    assert certbot.http01(name, options=("--key-type", "ecdsa")).code == 0
    leaf = load(certbot.certificate(name))
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days < 200
    policies = [
        one.policy_identifier.dotted_string
        for one in leaf.extensions.get_extension_for_class(x509.CertificatePolicies).value
    ]
    assert "2.23.140.1.2.1" in policies
    assert ocsp(public_ca, certbot.certificate(name), certbot.chain(name)) == "good"


@pytest.mark.clause("BR 3.2.2.9")
def test_every_perspective_of_the_preset_signed_for_the_issued_name(
    public_ca: RunningCa, certbot: Certbot
) -> None:
    assert certbot.dns01("*.quorum.example.com").code == 0
    with Books(public_ca).database() as db:
        row = db.one("SELECT evidence FROM certificates WHERE names LIKE '%*.quorum%'")
    assert row is not None
    statements = msgspec.msgpack.decode(row["evidence"], type=tuple[SignedStatement, ...])
    assert len({one.statement().perspective for one in statements}) >= 5


@pytest.mark.clause("BR 7.1.4.2.1")
@pytest.mark.parametrize("name", ["service.localhost", "printer.local", "intranet", "host.internal"])
def test_an_internal_name_is_refused(certbot: Certbot, name: str) -> None:
    ran = certbot.http01(name)
    assert ran.code != 0
    assert not certbot.live(name).exists()


@pytest.mark.clause("Chrome CT policy")
def test_a_public_certificate_was_logged_before_and_is_logged_afterwards(
    public_ca: RunningCa, logs: RunningLogs, certbot: Certbot
) -> None:
    name = "logged.example.com"
    assert certbot.http01(name).code == 0
    leaf = load(certbot.certificate(name))
    found = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    assert {each.log_id for each in found.value} == {log.id for log in logs.logs}
    for log in logs.logs:
        assert sum(leaf.tbs_precertificate_bytes in entry for entry in log.entries) == 1
    der = leaf.public_bytes(Encoding.DER)
    deadline = time.monotonic() + 30
    while not any(der in entry for log in logs.logs for entry in log.entries):
        assert time.monotonic() < deadline, "the final certificate is in no log"
        time.sleep(0.05)
    with Books(public_ca).database() as db:
        assert db.all("SELECT * FROM certificates WHERE state = 'precertified'") == []


@pytest.mark.clause("Mozilla Root Store Policy 5.4")
def test_an_order_without_scts_stays_open_and_its_precertificate_is_good_until_it_is_revoked(
    public_ca: RunningCa, logs: RunningLogs, certbot: Certbot
) -> None:
    for log in logs.logs[1:]:
        log.fault = Fault.BUSY
    name = "waiting.example.com"
    ran = certbot.http01(name, options=("--issuance-timeout", "3"))
    assert ran.code != 0
    books = Books(public_ca)
    with books.database() as db:
        row = db.one("SELECT * FROM certificates WHERE state = 'precertified'")
        assert row is not None
        assert [each["status"] for each in db.all("SELECT * FROM orders WHERE status = 'processing'")]
        issuer = db.one("SELECT certificate FROM issuers WHERE id = ?", (row["issuer_id"],))
        assert issuer is not None
    serial = int.from_bytes(row["serial"])
    assert books.ocsp(issuer["certificate"], serial) == "GOOD"
    for log in logs.logs:
        log.fault = None
