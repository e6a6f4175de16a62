"""Register and vault journal brought together: after a crash, and after a database restored from a backup.

The journal tells of every use of a CA key.  A serial number in it that the register does not know is
entered, so that OCSP and CRL can answer for it: the vault's own certificates too (OCSP responders, the
directory's TLS), which come into the register by no other way.  The journal's head is anchored in the audit
log; a journal that was cut short or rewritten since then stops issuance.

A subscriber's row and a CRL's number are durable in the register before the vault is asked
(docs/issuance.md).  So one that only the journal knows proves that the register was restored from a backup:
then the CA is closed (core/gaps.py) until all is found that it has forgotten.

BR 4.9.9 (status for every certificate), 5.4.1, 7.2; CPS 5.4.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import (
    blocked_keys,
    certificates,
    compromise,
    der,
    gaps,
    issuers,
    jobs,
    precertificates,
    remembered,
    revocations,
)
from core.certificates import Reservation
from core.database import Database, Rows, Transaction, Unit
from core.errors import HaltIssuance
from core.refusal import wrong
from core.settings import Settings
from signer.api import Description, JournalEntry, Recalled
from signer.client import Vault
from signer.settlement import settle

ANCHOR = "vault-journal"
"""The kind of the audit record that holds a sequence number and a hash of the vault's journal."""

_PAGE = 1000
_SHARD = re.compile(r"-(\d+)\.crl$")
_PRECERTIFICATE = "precertificate-intent"
_INTENTS = frozenset({_PRECERTIFICATE, "intent", "ocsp-responder-intent"})
_BLOCKED_KEY = "blocked-key"
_CRLS = frozenset({"crl-intent", "crl"})
_RESULTS = frozenset({"result", "ocsp-responder"})


class Reconciliation:
    """Follows the vault's journal from the last anchor on."""

    def __init__(self, vault: Vault, database: Database, settings: Settings) -> None:
        self._vault = vault
        self._database = database
        self._settings = settings

    async def put_issuers(self, description: Description) -> None:
        """Enter the vault's issuers.  Raises `ConfigurationError` for CRL shards of no issuer."""
        shards_must_be_of_issuers(self._settings, {info.id for info in description.issuers})
        found = [
            issuers.Issuer(
                id=info.id,
                use=info.use,
                algorithm=info.algorithm,
                certificate=info.certificate,
                chain=b"".join(_pem(certificate) for certificate in info.chain[:-1]),
                crl_shards=self._settings.status.shards_of(info.id),
            )
            for info in description.issuers
        ]

        def put(tx: Transaction) -> None:
            for issuer in found:
                issuers.put_issuer(tx, issuer)

        await self._write(put)

    def reserved(self) -> list[str]:
        """The ids of all rows whose outcome is open."""
        rows = self._database.reader.all("SELECT id FROM certificates WHERE state = 'reserved'")
        return [row["id"] for row in rows]

    async def follow_journal(self) -> None:
        """Read what is new in the journal, enter unknown serials, anchor the head.

        Raises `HaltIssuance` when the anchored entry is missing or another.
        """
        anchor = sequence, digest = self._anchor()
        if sequence:
            found = (await self._vault.journal(sequence - 1, 1)).entries
            if not found or found[0].hash.hex() != digest:
                await self._another_journal(sequence, digest)
                sequence = 0
            elif gaps.is_open(self._database.reader, gaps.JOURNAL):
                await self._write(
                    lambda tx: gaps.close(tx, gaps.JOURNAL, "the journal that was anchored is back")
                )
        # A result may stand on a later page than its intent: unknown intents are carried along.
        waiting: dict[str, JournalEntry] = {}
        while page := (await self._vault.journal(sequence, _PAGE)).entries:
            for entry in page:
                if entry.kind in _INTENTS and not self._known(entry):
                    # A precertificate's certificate follows it, under the same id.
                    waiting.setdefault(entry.issuance_id, entry)
            ended = [entry for entry in page if entry.kind in _RESULTS and entry.issuance_id in waiting]
            await self._enter([await self._ended(waiting.pop(entry.issuance_id), entry) for entry in ended])
            await self._block([entry for entry in page if entry.kind == _BLOCKED_KEY])
            await self._count([entry for entry in page if entry.kind in _CRLS])
            sequence, digest = page[-1].sequence, page[-1].hash.hex()
        for entry in waiting.values():
            # It may be at its signature right now: the vault knows its end.
            await self._enter([_Unknown(entry, await self._vault.recall(entry.issuance_id))])
        if (sequence, digest) != anchor:
            await self._write(lambda tx: tx.audit(ANCHOR, "vault", {"sequence": sequence, "hash": digest}))

    async def _another_journal(self, sequence: int, digest: str) -> None:
        """Raises `HaltIssuance`, unless a person has answered for it that the known journal is gone."""
        message = (
            f"entry {sequence} of the vault's journal is not the one that the audit log anchors: the "
            "journal was replaced or cut; restore it and find out by whom"
        )
        gap = {"sequence": sequence, "hash": digest}
        if not gaps.accepted(self._database.reader, gaps.JOURNAL, gap):
            remedy = "restore the vault's newest journal; only where it is gone for ever, accept this one"
            await self._write(lambda tx: gaps.found(tx, gaps.JOURNAL, message, remedy, gap))
            raise HaltIssuance(message)

        def unit(tx: Transaction) -> None:
            # It cannot tell that a key was not used, nor which keys it had blocked.
            for row in tx.all(
                "SELECT id, state FROM certificates WHERE state IN ('reserved', 'precertified')"
            ):
                if row["state"] == "reserved":
                    certificates.mark_lost(tx, row["id"])
                else:
                    precertificates.give_up(tx, row["id"], "the vault's journal was lost")
            for spki_sha256, _, _ in blocked_keys.all_blocked(tx):
                jobs.add(tx, blocked_keys.KIND, spki_sha256.hex())

        await self._write(unit)

    async def _count(self, entries: Sequence[JournalEntry]) -> None:
        """CRL numbers of which the register has no row are used for ever, and their CRLs must be found."""

        def unit(tx: Transaction) -> None:
            for entry in entries:
                _count_crl(tx, entry)

        reader = self._database.reader
        if gaps.is_open(reader, gaps.REVOCATIONS) or any(_is_new_crl(reader, entry) for entry in entries):
            await self._write(unit)

    async def _block(self, entries: Sequence[JournalEntry]) -> None:
        """Keys that the vault refuses are blocked here, too: a restored database has forgotten them."""

        def unit(tx: Transaction) -> None:
            for entry in entries:
                if not blocked_keys.is_blocked(tx, entry.tbs):
                    compromise.prove(tx, entry.tbs, "the vault's journal blocks this key")

        if entries:
            await self._write(unit)

    async def _write(self, unit: Unit[object]) -> None:
        """At any time: nothing here issues, and what a crash lost is to be revoked at any hour."""
        await self._database.write(unit, at_any_time=True)

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

    async def _ended(self, intent: JournalEntry, result: JournalEntry) -> _Unknown:
        if intent.kind == _PRECERTIFICATE:
            return _Unknown(intent, await self._vault.recall(intent.issuance_id))
        return _Unknown(intent, Recalled(True, result.certificate, result.lint))

    async def _enter(self, unknown: Sequence[_Unknown]) -> None:
        """Enter what the register does not know: as issued with a certificate, else as revoked."""
        if unknown:
            await self._write(lambda tx: _insert(tx, unknown))


@dataclass(frozen=True, slots=True)
class _Unknown:
    """An intent that the register does not know, and what became of it."""

    intent: JournalEntry
    recalled: Recalled


def shards_must_be_of_issuers(settings: Settings, known: Collection[str]) -> None:
    """Raises `ConfigurationError` for CRL shards of an issuer that there is not."""
    for issuer_id, shards in settings.status.issuer_crl_shards.items():
        if issuer_id not in known:
            raise wrong(
                f"status.issuer_crl_shards.{issuer_id}",
                shards,
                f"there is no such issuer; there are {', '.join(sorted(known))}",
            )


def _insert(tx: Transaction, unknown: Iterable[_Unknown]) -> None:
    for each in unknown:
        entry = each.intent
        if remembered.complete(tx, _reservation(entry), f"the vault's journal, entry {entry.sequence}"):
            gaps.revocations_unknown(tx, entry.at, f"the vault's journal, entry {entry.sequence}")
            continue
        if certificates.by_serial(tx, entry.serial) is not None:
            raise HaltIssuance(
                f"serial {entry.serial.hex()} is one issuance in the vault's journal and another in the "
                "register: the database is not this vault's"
            )
        certificates.reserve(tx, _reservation(entry))
        settle(tx, entry.issuance_id, each.recalled, entry.at)
        precertificates.give_up(tx, entry.issuance_id, "the register had forgotten who asked for it")
        tx.audit("reconciled", "system", {"id": entry.issuance_id, "serial": entry.serial.hex()})
        if not _profile(entry):
            gaps.revocations_unknown(tx, entry.at, f"the vault's journal, entry {entry.sequence}")
            if revocations.of(tx, entry.serial) is None:
                remembered.forgotten(tx, entry.serial)


def _is_new_crl(rows: Rows, entry: JournalEntry) -> bool:
    issuer_id, shard, number = _crl(entry)
    known = rows.one(
        "SELECT i.id, (SELECT MAX(number) FROM crls WHERE issuer_id = i.id AND shard = ?) AS highest"
        " FROM issuers i WHERE i.id = ?",
        (shard, issuer_id),
    )
    return known is not None and number > (known["highest"] or 0)


def _is_recorded(rows: Rows, entry: JournalEntry) -> bool:
    found = rows.one(
        "SELECT 1 FROM crls WHERE issuer_id = ? AND sha256 = ?", (entry.issuer_id, entry.certificate)
    )
    return found is not None


def _count_crl(tx: Transaction, entry: JournalEntry) -> None:
    issuer_id, shard, number = _crl(entry)
    if _is_new_crl(tx, entry):
        gaps.count_crl(tx, issuer_id, shard, number)
        gaps.revocations_unknown(tx, entry.at, f"the vault's journal, entry {entry.sequence}")
    elif not gaps.is_open(tx, gaps.REVOCATIONS) or _is_recorded(tx, entry):
        return
    if entry.certificate:  # it was signed; an intent alone reached nobody
        gaps.crl_unknown(tx, issuer_id, shard, number, entry.certificate.hex())


def _crl(entry: JournalEntry) -> tuple[str, int, int]:
    """Issuer, shard and number of a CRL, as its issuance id has them."""
    issuer_id, shard, number = entry.issuance_id.removeprefix("crl:").rsplit(":", 2)
    return issuer_id, int(shard), int(number)


def _reservation(entry: JournalEntry) -> Reservation:
    """A row for a serial number of which only the journal knows."""
    # A certificate around the TBS, so that `cryptography` reads it; the signature is not looked at.
    algorithm = list(der.elements(der.only(entry.tbs, der.SEQUENCE).content))[2].encoding
    certificate = x509.load_der_x509_certificate(der.sequence(entry.tbs, algorithm, der.bit_string(b"")))
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Reservation(
        id=entry.issuance_id,
        serial=entry.serial,
        issuer_id=entry.issuer_id,
        crl_shard=_shard(certificate),
        request_id=None,
        account_url=None,
        profile=_profile(entry),
        names=_names(certificate),
        spki_sha256=hashlib.sha256(spki).digest(),
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        versions={},
    )


def _profile(entry: JournalEntry) -> str:
    """What the vault makes of its own accord has its kind before a colon; a subscriber's profile is lost."""
    kind, colon, _ = entry.issuance_id.partition(":")
    return kind if colon else ""


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Host names and addresses; an OCSP responder has none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


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
