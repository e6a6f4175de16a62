"""A register with issuers in it, and a software vault, for the tests of status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, ocsp

from core import certificates, precertificates, revocations
from core.certificates import Reservation
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Database, Reader
from core.issuers import Issuer, put_issuer
from core.revocations import Revocation
from core.settings import Settings, Status
from status.crl.updater import CrlUpdater
from status.ocsp.index.index import Index
from status.ocsp.responder import Responder
from tests.support.database import NOW, opened
from tests.support.keeper import Kept
from tests.support.software_vault import DAY, HASHES, SoftwareVault


@dataclass
class House:
    """The register, the vault and the two readers of a revocation."""

    data: DataDirectory
    clock: FakeClock
    database: Database
    vault: SoftwareVault
    settings: Settings
    reader: Reader
    drawn: int = 0

    @property
    def responder(self) -> Responder:
        return self._responder

    def __post_init__(self) -> None:
        status = self.settings.status
        self._responder = Responder(
            self.reader,
            self.vault,
            self.clock,
            validity=status.ocsp_validity,
            refresh=status.ocsp_refresh,
            index=Index(self.data.answers, self.clock, every=0),
        )

    def updater(self, vault: object | None = None) -> CrlUpdater:
        signer = self.vault if vault is None else vault
        return CrlUpdater(self.database, signer, self.settings, self.data, self.clock)  # type: ignore[arg-type]

    async def reserve(self, issuer_id: str = "ec1", shard: int = 0, days: int = 90) -> bytes:
        """A serial drawn; its id is its hex."""
        self.drawn += 1
        serial = (0x4C0FFEE0_00000000_00000000_00000000 + self.drawn).to_bytes(16, "big")
        reservation = Reservation(
            id=serial.hex(),
            serial=serial,
            issuer_id=issuer_id,
            crl_shard=shard,
            request_id=None,
            account_url=None,
            profile="tlsserver",
            names=("www.ca.example",),
            spki_sha256=serial * 2,
            not_before=self.clock.now(),
            not_after=self.clock.now() + days * DAY - 1,
            versions={},
        )
        await self.database.write(lambda tx: certificates.reserve(tx, reservation))
        return serial

    async def issue(self, issuer_id: str = "ec1", shard: int = 0, days: int = 90) -> bytes:
        """A serial that counts as issued."""
        serial = await self.reserve(issuer_id, shard, days)
        now = self.clock.now()
        await self.database.write(
            lambda tx: certificates.store(tx, serial.hex(), b"leaf" + serial, now, bytes(32), None)
        )
        return serial

    async def precertify(self, issuer_id: str = "ec1", shard: int = 0, days: int = 90) -> bytes:
        """A serial with a precertificate alone."""
        serial = await self.reserve(issuer_id, shard, days)
        await self.database.write(
            lambda tx: precertificates.store(tx, serial.hex(), b"poisoned" + serial, bytes(32), None)
        )
        return serial

    async def revoke(self, serial: bytes, reason: int = 0) -> Revocation:
        return await self.database.write(lambda tx: revocations.revoke(tx, serial, reason, "a test"))

    def request(self, serial: bytes, issuer_id: str = "ec1", hash_name: str = "sha256") -> bytes:
        """A DER OCSPRequest."""
        info = next(each for each in self.vault.description().issuers if each.id == issuer_id)
        return (
            ocsp.OCSPRequestBuilder()
            .add_certificate_by_hash(
                getattr(info, f"name_{hash_name}"),
                getattr(info, f"key_{hash_name}"),
                int.from_bytes(serial, "big"),
                HASHES[hash_name],
            )
            .build()
            .public_bytes(Encoding.DER)
        )

    async def ask(
        self, serial: bytes, issuer_id: str = "ec1", hash_name: str = "sha256"
    ) -> ocsp.OCSPResponse:
        answer = await self.responder.answer(self.request(serial, issuer_id, hash_name))
        return ocsp.load_der_ocsp_response(answer.der)


@pytest.fixture
def status_settings() -> Status:
    return Status()


@pytest.fixture
async def house(tmp_path: Path, status_settings: Status) -> AsyncIterator[House]:
    clock = FakeClock(NOW)
    data = DataDirectory(tmp_path)
    data.repository.mkdir()
    vault = SoftwareVault()
    async with opened(tmp_path, clock) as database:
        for info in vault.description().issuers:
            assert load_der_x509_certificate(info.certificate)
            issuer = Issuer(
                info.id, str(info.use), info.algorithm, info.certificate, b"", status_settings.crl_shards
            )
            await database.write(lambda tx, issuer=issuer: put_issuer(tx, issuer))  # type: ignore[misc]
        settings = replace(Settings(), status=status_settings)
        reader = Reader(data.database)
        yield House(data, clock, database, vault, settings, reader)
        reader.close()


@pytest.fixture(scope="session")
def house_class() -> type[House]:
    """For tests that build a house for each of their examples."""
    return House


@pytest.fixture(scope="session")
def keeper_class() -> type[Kept]:
    return Kept
