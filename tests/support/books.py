"""Looks into a CA's books from outside and says what is wrong in them: the invariants of the crash rule.

Reads the database, the vault's journal and the public status service; changes nothing.
"""

from __future__ import annotations

import asyncio
import urllib.error
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from core.audit import verify
from core.database import Reader
from core.rpc import RpcClient
from signer.api import JOURNAL, JournalEntry, JournalRequest
from tests.support.ca import RunningCa

PAGE = 500


@dataclass(frozen=True, slots=True)
class Books:
    """The books of one CA."""

    ca: RunningCa

    @contextmanager
    def database(self) -> Iterator[Reader]:
        """Read-only."""
        with closing(Reader(self.ca.data / "ca.sqlite")) as reader:
            yield reader

    def faults(self) -> list[str]:
        """Every broken promise; empty when the books are whole."""
        with self.database() as db:
            found = [f"audit: {fault}" for fault in verify(db)]
            found += self._orders(db) + self._register(db)
        return found

    def _orders(self, db: Reader) -> list[str]:
        found = [f"order {row['id']} is still processing" for row in db.all(
            "SELECT id FROM orders WHERE status = 'processing'")]  # fmt: skip
        found += [f"order {row['id']} is valid without a certificate" for row in db.all(
            "SELECT id FROM orders WHERE status = 'valid' AND certificate_id IS NULL")]  # fmt: skip
        # All certificates of an order but the delivered one must be abandoned (never signed) or revoked.
        rows = db.all(
            "SELECT c.id, c.state, c.request_id, o.certificate_id AS delivered, r.serial AS revoked "
            "FROM certificates c JOIN orders o ON o.id = c.request_id "
            "LEFT JOIN revocations r ON r.serial = c.serial"
        )
        for row in rows:
            spare = row["id"] != row["delivered"] and row["state"] != "abandoned" and row["revoked"] is None
            if spare:
                found.append(f"order {row['request_id']} has a spare {row['state']} certificate {row['id']}")
            if row["id"] == row["delivered"] and row["state"] != "issued":
                found.append(f"order {row['request_id']} delivered a {row['state']} certificate")
        return found

    def _register(self, db: Reader) -> list[str]:
        found = []
        # The certificates of our own directory name no OCSP responder: the CRL alone answers for them.
        chosen = db.all("SELECT id, certificate FROM issuers WHERE use = 'issuing'")
        issuers = {row["id"]: row["certificate"] for row in chosen}
        register = {row["serial"]: row["state"] for row in db.all("SELECT * FROM certificates")}
        revoked = {row["serial"] for row in db.all("SELECT serial FROM revocations")}
        for entry in self.journal():
            if entry.kind not in ("precertificate-intent", "intent", "ocsp-responder-intent"):
                continue
            name = entry.serial.hex()
            if register.get(entry.serial) not in ("precertified", "issued", "lost"):
                found.append(f"serial {name}: the key may have been used; the register says "
                             f"{register.get(entry.serial)}")  # fmt: skip
                continue
            if entry.issuer_id not in issuers:
                continue
            says = self.ocsp(issuers[entry.issuer_id], int.from_bytes(entry.serial, "big"))
            wanted = "REVOKED" if entry.serial in revoked else "GOOD"
            if says != wanted:
                found.append(f"serial {name}: OCSP says {says}, the register {wanted}")
        return found

    def journal(self) -> list[JournalEntry]:
        """The vault's whole journal."""

        async def read() -> list[JournalEntry]:
            vault = RpcClient(self.ca.data / "run/vault.sock")
            try:
                entries: list[JournalEntry] = []
                while True:
                    after = entries[-1].sequence if entries else 0
                    page = (await vault.call(JOURNAL, JournalRequest(after, PAGE))).entries
                    if not page:
                        return entries
                    entries += page
            finally:
                await vault.close()

        return asyncio.run(read())

    def says(self, chain: bytes) -> str:
        """OCSP's word for the leaf of a PEM chain (leaf first, its issuer second)."""
        leaf, issuer = x509.load_pem_x509_certificates(chain)[:2]
        return self.ocsp(issuer.public_bytes(serialization.Encoding.DER), leaf.serial_number)

    def ocsp(self, issuer_der: bytes, serial: int) -> str:
        """The status service's word: "GOOD", "REVOKED", "UNKNOWN", or a response status ("UNAUTHORIZED")."""
        issuer = x509.load_der_x509_certificate(issuer_der)
        name_hash = hashes.Hash(hashes.SHA1())
        name_hash.update(issuer.subject.public_bytes())
        key_hash = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate_by_hash(name_hash.finalize(), key_hash, serial, hashes.SHA1())
            .build()
            .public_bytes(serialization.Encoding.DER)
        )
        try:
            body = self.ca.get(f"{self.ca.public_url}/ocsp", request, "application/ocsp-request")
        except urllib.error.URLError as error:
            return f"no answer ({error})"
        response = ocsp.load_der_ocsp_response(body)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name
        return response.certificate_status.name
