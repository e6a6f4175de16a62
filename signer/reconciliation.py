"""Register and vault journal brought together: after a crash, and after a database restored from a backup.

The journal tells of every use of an issuing key.  A serial number in it that the register does not know is
entered, so that OCSP and CRL can answer for it.  The journal's head is anchored in the audit log; a journal
that was cut short or rewritten since then stops issuance.

BR 4.9.9 (status for every certificate), 5.4.1, 7.2; CPS 5.4.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import certificates, der, issuers
from core.certificates import Reservation
from core.database import Database, Transaction
from core.errors import HaltIssuance
from core.settings import Settings
from signer.api import Description, JournalEntry, KeyUse
from signer.client import Vault

ANCHOR = "vault-journal"
"""The kind of the audit record that holds a sequence number and a hash of the vault's journal."""

_PAGE = 1000
_SHARD = re.compile(r"-(\d+)\.crl$")
_INTENT, _RESULT = "intent", "result"


class Reconciliation:
    """Follows the vault's journal from the last anchor on."""

    def __init__(self, vault: Vault, database: Database, settings: Settings) -> None:
        self._vault = vault
        self._database = database
        self._settings = settings

    async def put_issuers(self, description: Description) -> None:
        """Enter the vault's issuers in the register."""
        found = [
            issuers.Issuer(
                id=info.id,
                use=info.use,
                algorithm=info.algorithm,
                certificate=info.certificate,
                chain=b"".join(_pem(certificate) for certificate in info.chain[:-1]),
                crl_shards=self._settings.status.crl_shards,
            )
            for info in description.issuers
        ]

        def put(tx: Transaction) -> None:
            for issuer in found:
                issuers.put_issuer(tx, issuer)

        await self._database.write(put)

    def reserved(self) -> list[str]:
        """The ids of all rows whose outcome is open."""
        rows = self._database.reader.all("SELECT id FROM certificates WHERE state = 'reserved'")
        return [row["id"] for row in rows]

    async def follow_journal(self, description: Description) -> None:
        """Read what is new in the journal, enter unknown serials, anchor the head.

        Raises `HaltIssuance` when the anchored entry is missing or another.
        """
        anchored, digest = self._anchor()
        sequence = anchored
        if sequence:
            found = (await self._vault.journal(sequence - 1, 1)).entries
            if not found or found[0].hash.hex() != digest:
                raise HaltIssuance(
                    f"entry {sequence} of the vault's journal is not the one that the audit log anchors: the "
                    "journal was replaced or cut; restore it and find out by whom"
                )
        issuing = frozenset(info.id for info in description.issuers if info.use is KeyUse.ISSUING)
        # A result may stand on a later page than its intent: unknown intents are carried along.
        waiting: dict[str, JournalEntry] = {}
        while page := (await self._vault.journal(sequence, _PAGE)).entries:
            for entry in page:
                if entry.kind == _INTENT and entry.issuer_id in issuing and not self._known(entry):
                    waiting[entry.issuance_id] = entry
            results = {
                entry.issuance_id: entry.certificate
                for entry in page
                if entry.kind == _RESULT and entry.issuance_id in waiting
            }
            await self._enter([(waiting.pop(id), certificate) for id, certificate in results.items()])
            sequence, digest = page[-1].sequence, page[-1].hash.hex()
        await self._enter([(entry, None) for entry in waiting.values()])
        if sequence != anchored:
            await self._database.write(
                lambda tx: tx.audit(ANCHOR, "vault", {"sequence": sequence, "hash": digest})
            )

    def _anchor(self) -> tuple[int, str]:
        row = self._database.reader.one(
            "SELECT content FROM audit WHERE kind = ? ORDER BY sequence DESC LIMIT 1", (ANCHOR,)
        )
        if row is None:
            return 0, ""
        content = json.loads(row["content"])
        return int(content["sequence"]), str(content["hash"])

    def _known(self, entry: JournalEntry) -> bool:
        return certificates.by_id(self._database.reader, entry.issuance_id) is not None

    async def _enter(self, unknown: Sequence[tuple[JournalEntry, bytes | None]]) -> None:
        """Enter what the register does not know: as issued with a result, as lost without."""
        if unknown:
            await self._database.write(lambda tx: _insert(tx, unknown))


def _insert(tx: Transaction, unknown: Iterable[tuple[JournalEntry, bytes | None]]) -> None:
    for entry, certificate in unknown:
        if certificates.by_serial(tx, entry.serial) is not None:
            raise HaltIssuance(
                f"serial {entry.serial.hex()} is one issuance in the vault's journal and another in the "
                "register: the database is not this vault's"
            )
        certificates.reserve(tx, _reservation(entry))
        if certificate is None:
            certificates.mark_lost(tx, entry.issuance_id)
        else:
            digest = hashlib.sha256(entry.tbs).digest()
            certificates.store(tx, entry.issuance_id, certificate, entry.at, digest, None)
        tx.audit("reconciled", "system", {"id": entry.issuance_id, "serial": entry.serial.hex()})


def _reservation(entry: JournalEntry) -> Reservation:
    """A row for a serial number of which only the journal knows."""
    # A certificate around the TBS, so that `cryptography` reads it; the signature is not looked at.
    algorithm = list(der.elements(der.only(entry.tbs, der.SEQUENCE).content))[2].encoding
    certificate = x509.load_der_x509_certificate(der.sequence(entry.tbs, algorithm, der.bit_string(b"")))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Reservation(
        id=entry.issuance_id,
        serial=entry.serial,
        issuer_id=entry.issuer_id,
        crl_shard=_shard(certificate),
        request_id=None,
        account_url=None,
        profile="",
        names=tuple(names.get_values_for_type(x509.DNSName)),
        spki_sha256=hashlib.sha256(spki).digest(),
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        versions={},
    )


def _shard(certificate: x509.Certificate) -> int:
    """The shard in the CRL's URL; a profile without CRL has the first."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return 0
    names = points[0].full_name or ()
    found = _SHARD.search(str(names[0].value)) if names else None
    return int(found[1]) if found else 0


def _pem(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
