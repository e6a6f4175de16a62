"""Precertificates with a real vault, a real token and logs over HTTP: killed at a step, started again."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import certificates, revocations
from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.database import Transaction
from core.errors import TransientError
from core.randomness import SystemRandomness
from core.settings import Ct
from signer.client import Vault
from signer.ct.finals import FinalJob
from signer.ct.log_list import LogLists
from signer.ct.submission import Logs
from signer.issuance import Approved, Issuance
from signer.vault.sealed import hierarchy
from tests.support.applicant import applicant
from tests.support.ct_log import CtLog, audit_path, three, tree_head, write_list
from tests.support.database import opened
from tests.support.hierarchy import evidence, settings
from tests.support.vault import RunningVault

NAME = "shop.localhost"
ACCOUNT = "https://localhost/acme/account/1"


@pytest.fixture
async def logs(data: DataDirectory) -> AsyncIterator[list[CtLog]]:
    found = three()
    for log in found:
        log.roots = (hierarchy.load(data, settings()).root,)
        await log.start()
    yield found
    for log in found:
        await log.stop()


def approved(clock: SystemClock) -> Approved:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    seen = evidence((NAME,), ACCOUNT, clock.now())
    own = applicant((NAME,), spki, ACCOUNT)
    return Approved("order-1", ACCOUNT, (NAME,), spki, "tlsserver", None, None, seen, own)


def arguments(ct: Ct) -> list[str]:
    return [
        word
        for name in ("mode", "log_list", "log_list_signature", "log_list_key")
        for word in ("--set", f'ct.{name}="{getattr(ct, name)}"')
    ]


@pytest.mark.clause("house: the crash rule")
@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        pytest.param("5 intent", ["lost", "issued"], marks=pytest.mark.long),
        pytest.param("5 signed", ["lost", "issued"], marks=pytest.mark.long),
        ("5 result", ["issued"]),
        pytest.param("7 prepare", ["issued"], marks=pytest.mark.long),
        pytest.param("8 intent", ["lost", "issued"], marks=pytest.mark.long),
        pytest.param("8 result", ["issued"], marks=pytest.mark.long),
    ],
)
async def test_between_precertificate_and_certificate_a_killed_vault_loses_nothing(
    data: DataDirectory, tmp_path: Path, logs: list[CtLog], step: str, outcome: list[str]
) -> None:
    clock, randomness = SystemClock(), SystemRandomness()
    ct = write_list(tmp_path, logs, clock.now())
    ours = settings(ct=ct)
    collector = Logs(LogLists(ct, clock), ct, ours.ca.rules, clock, randomness)
    wanted = approved(clock)
    delivered: list[str] = []

    def finish(tx: Transaction, id: str) -> None:
        delivered.append(id)

    running = RunningVault(data, arguments=arguments(ct)).start(crash_at=step)
    vault = Vault(data.vault_socket)
    async with opened(tmp_path, clock) as database:
        before = Issuance(vault, database, ours, clock, randomness, collector)
        await before.reconcile()
        with pytest.raises(TransientError):
            await before.issue(wanted, finish)
        assert running.died()
        assert delivered == []

        running.start()
        after = Issuance(vault, database, ours, clock, randomness, collector)
        await after.reconcile()
        id = await after.issue(wanted, finish)
        rows = certificates.by_request(database.reader, "order-1")
        assert [row.state.value for row in rows] == outcome
        assert delivered == [id]
        for entry in (await vault.journal(0)).entries:
            if entry.kind in ("precertificate-intent", "intent"):
                status = revocations.status_of(database.reader, entry.serial)
                assert status is not None
                assert (status.revocation is None) is (entry.issuance_id == id)
        await FinalJob(database, collector, after.chain_of, clock)(id)
        row = certificates.by_id(database.reader, id)
        assert row is not None
        assert row.certificate is not None
        _judge(row.certificate, await after.chain_of(row.issuer_id), logs, tmp_path)
    await collector.close()
    await vault.close()
    running.stop()


def _judge(certificate: bytes, chain: tuple[bytes, ...], logs: list[CtLog], directory: Path) -> None:
    """openssl verifies it and shows its SCTs; the logs have it, and prove it where they can."""
    ours, issuer, root = (x509.load_der_x509_certificate(each) for each in (certificate, *chain))
    for name, each in (("leaf", ours), ("issuer", issuer), ("root", root)):
        (directory / f"{name}.pem").write_bytes(each.public_bytes(Encoding.PEM))
    for command in (
        "openssl verify -x509_strict -CAfile root.pem -untrusted issuer.pem leaf.pem",
        "openssl x509 -in leaf.pem -noout -ext ct_precert_scts",
    ):
        ran = subprocess.run(command.split(), cwd=directory, capture_output=True, text=True, timeout=30)
        assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("Signed Certificate Timestamp:") == 3
    found = ours.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    assert {each.log_id for each in found.value} == {log.id for log in logs}
    assert sum("add-chain" in log.asked for log in logs) == 1
    for log in logs:
        # Whoever holds the final certificate finds the precertificate's leaf in the log by its SCT.
        leaves = [leaf for leaf in log.entries if ours.tbs_precertificate_bytes in leaf]
        assert len(leaves) == 1
        index = log.entries.index(leaves[0])
        assert _root_by(audit_path(index, log.entries), index, leaves[0], len(log.entries)) == tree_head(
            log.entries
        )


def _root_by(path: list[bytes], index: int, leaf: bytes, size: int) -> bytes:
    """RFC 9162 section 2.1.3.2, written from the other end than `audit_path`."""
    at, last, head = index, size - 1, hashlib.sha256(b"\x00" + leaf).digest()
    for each in path:
        if at % 2 or at == last:
            head = hashlib.sha256(b"\x01" + each + head).digest()
            while at and not at % 2:
                at, last = at >> 1, last >> 1
        else:
            head = hashlib.sha256(b"\x01" + head + each).digest()
        at, last = at >> 1, last >> 1
    assert last == 0
    return head
