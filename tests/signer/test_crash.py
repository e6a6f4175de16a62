"""The crash rule with a real vault and a real token: killed at each of its steps, then started again."""

from __future__ import annotations

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
from signer.client import Vault
from signer.issuance import Approved, Issuance
from signer.vault.sealed import hierarchy
from tests.support.applicant import applicant
from tests.support.database import opened
from tests.support.hierarchy import evidence, settings
from tests.support.vault import RunningVault

NAME = "shop.localhost"
ACCOUNT = "https://localhost/acme/account/1"


@pytest.mark.clause("house: the crash rule")
@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        ("4 prepare", ["abandoned", "issued"]),
        ("8 intent", ["lost", "issued"]),
        ("8 signed", ["lost", "issued"]),
        ("8 result", ["issued"]),
    ],
)
async def test_a_vault_killed_at_a_step_costs_at_most_a_serial_number(
    data: DataDirectory, tmp_path: Path, step: str, outcome: list[str]
) -> None:
    clock = SystemClock()
    spki = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    approved = Approved(
        "order-1",
        ACCOUNT,
        (NAME,),
        spki,
        "tlsserver",
        None,
        None,
        evidence((NAME,), ACCOUNT, clock.now()),
        applicant((NAME,), spki, ACCOUNT),
    )
    delivered: list[str] = []

    def finish(tx: Transaction, id: str) -> None:
        delivered.append(id)

    running = RunningVault(data).start(crash_at=step)
    async with opened(tmp_path, clock) as database:
        first = Vault(data.vault_socket)
        before = Issuance(first, database, settings(), clock, SystemRandomness())
        await before.reconcile()
        with pytest.raises(TransientError):
            await before.issue(approved, finish)
        await first.close()
        assert running.died()
        assert delivered == []

        running.start()
        second = Vault(data.vault_socket)
        after = Issuance(second, database, settings(), clock, SystemRandomness())
        await after.reconcile()
        id = await after.issue(approved, finish)
        rows = certificates.by_request(database.reader, "order-1")
        assert [row.state.value for row in rows] == outcome
        assert delivered == [id]
        issuer = hierarchy.load(data, settings()).issuers[1]
        for entry in (await second.journal(0)).entries:
            if entry.kind == "intent":
                status = revocations.status_of(database.reader, entry.serial)
                assert status is not None
                assert (status.revocation is None) is (entry.issuance_id == id)
        row = certificates.by_id(database.reader, id)
        assert row is not None
        assert row.certificate is not None
        x509.load_der_x509_certificate(row.certificate).verify_directly_issued_by(
            x509.load_der_x509_certificate(issuer.certificate)
        )
        await second.close()
    running.stop()
