"""Notices that the register is older than what others have seen, and puts back what it has forgotten.

Looked at when the app starts, after the vault's journal was followed (signer/reconciliation.py), and whenever
a person brings something (operations/desk/reconcile.py):

    the audit log's copy   every revocation, blocked key and CRL number after the backup, certainly
    the public CRLs        what they revoke, and their numbers
    the OCSP index         the revocations that were said
    the public manifest    a record of the audit log and a revocation version that were there
    what people bring      CRLs of a mirror or CDN, OCSP answers, manifests

What is certain is put back at once, and said loudly; what is not keeps a gap open (core/gaps.py), and so the
CA closed, until it is brought or a person answers for it.

Must never: take a revocation back; close a gap for what might be.

CPS 5.7.2, 5.7.4; BR 4.9.9, 4.9.10, 4.10.1, 7.2 (CRLNumber rises across restores).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core import blocked_keys, certificates, gaps
from core.audit_copy import AuditCopy, Lost, Record, audit_hash
from core.database import Database, Rows, Transaction
from core.errors import CaError, Refused
from core.gaps import CERTIFICATES, CRL, RESTORED, REVOCATIONS
from repo_static.manifest import signature
from repo_static.manifest.signature import NotSigned
from repo_static.manifest.updater import NAME, SIGNED
from repo_static.store import Store
from status.crl.scopes import last_published, scopes
from status.ocsp.index.index import Index
from status.ocsp.issuers import not_after
from status.restored import answers, outside
from status.restored.outside import Said
from status.restored.put_back import is_missing, put_all_back

COPIED_WITHIN = 5
"""Seconds by which other records of the audit log's copy may lag behind what the vault did."""

_COPY_EVERY = 1
"""Seconds."""

PAGE = 200
"""Entries in one transaction: others are served between two."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was put back: revocations entered or raised to keyCompromise, and CRL numbers counted as used."""

    revocations: int = 0
    numbers: int = 0

    def __bool__(self) -> bool:
        return bool(self.revocations or self.numbers)


class RestoredRegister:
    """One in the app process."""

    def __init__(self, database: Database, store: Store, copy: AuditCopy, marker: Path, index: Index) -> None:
        """`marker` is a file by which a person says, before the start, that something was restored."""
        self._database = database
        self._store = store
        self._copy = copy
        self._marker = marker
        self._index = index

    async def look(self) -> list[gaps.Gap]:
        """Put back what is certain; what is still missing."""
        reader = self._database.reader
        if self._marker.exists():
            await self.begin("a marker beside the audit log's copy", int(self._marker.stat().st_mtime))
            self._marker.unlink()
        lost = self._copy.lost(reader)
        if lost.records or lost.fault:
            await self._replay(lost)
        await self._look_at_the_manifest(lost)
        await self._look_at_the_answers()
        for scope in scopes(reader):
            content, last = self._store.read(scope.name), last_published(reader, scope)
            if content is None or (last is not None and hashlib.sha256(content).digest() == last.sha256):
                continue
            try:
                found = await self._read(content)
                if _is_news(reader, found):
                    _log.critical("%s tells of what the register has forgotten", scope.name)
                    await self._database.write(partial(_proves, at=found.this_update, name=scope.name))
                await self._take_crl(found, content)
            except Refused as error:
                _log.error("%s is no evidence: %s", scope.name, error)
        await self._judge(lost)
        if lost.records or lost.fault:
            self._copy.turn(lost.common)
        missing = gaps.are_open(reader)
        for gap in missing:
            _log.critical("THE CA IS CLOSED: %s. %s", gap.missing, gap.remedy)
        return missing

    async def begin(self, who: str, at: int) -> None:
        """A person says that there was a restore: the CA is closed until one says that all is back."""

        def unit(tx: Transaction) -> None:
            gaps.raise_version(tx, certificates.revocation_version(tx) + gaps.MARGIN)
            gaps.found(
                tx,
                RESTORED,
                "an operator says that this register, and maybe all that stands beside it, was restored",
                "bring the newest CRL of every issuer and shard that mirrors have, then accept",
                {"by": who, "at": at},
            )

        await self._database.write(unit)

    async def bring_crl(self, der: bytes) -> Taken:
        """Put back what a CRL of ours says.  Raises `Refused`."""
        return await self._take_crl(await self._read(der), der)

    async def _read(self, der: bytes) -> outside.Crl:
        return await asyncio.to_thread(outside.crl, scopes(self._database.reader), der)

    async def _take_crl(self, found: outside.Crl, der: bytes) -> Taken:
        name = f"{found.scope.issuer_id}-{found.scope.shard}"
        count = await self._enter(found.said, f"it stands in CRL {name} number {found.number}")
        digest = hashlib.sha256(der).hexdigest()

        def unit(tx: Transaction) -> bool:
            newly = gaps.count_crl(tx, found.scope.issuer_id, found.scope.shard, found.number)
            gap = next((each for each in gaps.are_open(tx) if each.subject == f"{CRL} {name}"), None)
            if gap is not None and (found.number > gap.detail["number"] or digest == gap.detail["sha256"]):
                gaps.close(tx, gap.subject, f"CRL number {found.number} was read")
            return newly

        return Taken(count, int(await self._database.write(unit)))

    async def bring_answer(self, der: bytes) -> Taken:
        """Put back what a signed OCSP answer of ours says.  Raises `Refused`."""
        said = outside.answer(self._database.reader, der)
        return Taken(await self._enter((said,), "a signed OCSP answer says so"))

    async def bring_manifest(self, jws: bytes) -> Taken:
        """Learn from a manifest how high versions and CRL numbers had come, and which CRLs to look for.

        Raises `Refused` unless a key signed it that has signed our own public one.
        """
        try:
            signed, own = signature.read(jws), signature.read(self._store.read(SIGNED) or b"")
        except NotSigned as error:
            raise Refused(
                "outside.manifest",
                f"{error}: bring a {SIGNED}, and put our own, an older one, into repository/",
            ) from error
        if not set(signed.thumbprints) & set(own.thumbprints):
            raise Refused("outside.manifest-foreign", "another key signed it than our own public manifest")
        said = outside.manifest(signed.payload)

        def unit(tx: Transaction) -> int:
            gaps.raise_version(tx, said.version)
            ours = {scope.issuer_id for scope in scopes(tx)}  # the root's CRL is a matter of ceremonies
            newer = [each for each in said.crls if each[0] in ours and gaps.count_crl(tx, *each[:3])]
            for issuer_id, shard, number, digest in newer:
                gaps.crl_unknown(tx, issuer_id, shard, number, digest)
            return len(newer)

        return Taken(0, await self._database.write(unit))

    async def accept(self, reason: str, actor: str) -> tuple[list[str], int]:
        """A person answers for what is missing; the gaps closed, and the certificates revoked for it."""
        reader = self._database.reader
        subjects = [gap.subject for gap in gaps.are_open(reader)]
        revoked = await self._revoke_forgotten(reason, actor) if CERTIFICATES in subjects else 0

        def unit(tx: Transaction) -> None:
            for subject in subjects:
                gaps.close(tx, subject, f"accepted: {reason}", actor=actor)
            if subjects != [CERTIFICATES]:
                _pass_over(tx)

        if subjects:
            await self._database.write(unit)
        return subjects, revoked

    async def follow(self) -> None:
        """Keep the audit log's copy up to date, until cancelled."""
        while True:
            await self.follow_to_the_end()
            await asyncio.sleep(_COPY_EVERY)

    async def follow_to_the_end(self) -> None:
        """Copy all that has committed.  What cannot be copied is said, and waits in the database."""
        try:
            while self._copy.follow(self._database.reader):
                await asyncio.sleep(0)
        except (CaError, OSError) as error:
            _log.critical("the audit log is not copied: %s", error)

    async def _look_at_the_manifest(self, lost: Lost) -> None:
        """The public one names a record of the audit log: who has not that record is older, or another."""
        content = self._store.read(NAME)
        if content is None:
            return
        try:
            said = outside.manifest(content)
        except Refused as error:
            _log.error("%s is no evidence: %s", NAME, error)
            return
        copied = {each.hash for each in lost.records if each.sequence == said.audit.sequence}
        known = (
            audit_hash(self._database.reader, said.audit.sequence) == said.audit.hash
            or said.audit.hash.hex() in copied
            or _reconciled_since(self._database.reader, said.this_update)
        )

        def unit(tx: Transaction) -> None:
            gaps.raise_version(tx, said.version)
            if not known:
                gaps.revocations_unknown(tx, said.this_update, NAME)

        if not known or said.version > certificates.revocation_version(self._database.reader):
            await self._database.write(unit)

    async def _look_at_the_answers(self) -> None:
        """A revocation version that the register has not come to tells that it is older."""
        reader, index = self._database.reader, self._index
        index.look()
        if not answers.is_ahead(index, reader) and not gaps.closed(reader):
            return
        missing = answers.forgotten(reader, await asyncio.to_thread(answers.revoked, index))

        def unit(tx: Transaction) -> None:
            gaps.raise_version(tx, index.version)
            at = max((each.revoked_at or 0 for each in missing), default=0)
            gaps.revocations_unknown(tx, at, "the index of OCSP answers")

        if missing or answers.is_ahead(index, reader):
            await self._database.write(unit)
            await self._enter(missing, "a signed OCSP answer says so")

    async def _replay(self, lost: Lost) -> None:
        """Do again what the forgotten records tell of, as far as relying parties may have met it."""
        kinds = Counter(record.kind for record in lost.records)
        _log.critical(
            "the register ends at audit record %d and was restored: %d records that it has forgotten are in "
            "the copy of the audit log. %s",
            lost.common.sequence,
            len(lost.records),
            lost.fault,
        )
        known: dict[str, Said] = {}
        said: list[Said] = []
        version = 0
        for record in lost.records:
            content = json.loads(record.content)
            if record.kind in ("issuance", "issuance-lost", "precertificate"):
                known[content["serial"]] = _issued(self._database.reader, content)
            elif record.kind in ("revocation", "revocation-reason"):
                version = max(version, content.get("version", 0))
                issuer_until = _issuer_until(self._database.reader, content["issuer"])
                said.append(outside.record(content, known.get(content["serial"]), issuer_until))
            elif record.kind == "crl":
                version = max(version, content["revocation_version"])
        await self._database.write(lambda tx: gaps.raise_version(tx, version))
        count = await self._enter(said, "the audit log's copy tells of it")

        def unit(tx: Transaction) -> None:
            for record in lost.records:
                _do_again(tx, record)
            tx.audit(
                "register-restored",
                "system",
                {
                    "common": lost.common.sequence,
                    "forgotten": kinds,
                    "head": lost.records[-1].hash if lost.records else "",
                    "fault": lost.fault,
                    "revocations": count,
                },
            )

        await self._database.write(unit)

    async def _enter(self, said: Sequence[Said], source: str) -> int:
        cause = f"{source}, and the register had forgotten it"
        reader = self._database.reader
        unknown = [each for each in said if is_missing(reader, each)]
        for start in range(0, len(unknown), PAGE):
            page = unknown[start : start + PAGE]
            await self._database.write(partial(put_all_back, said=page, cause=cause))
        return len(unknown)

    async def _judge(self, lost: Lost) -> None:
        """Whether the copy of the audit log tells of everything: then no public artefact is missing."""
        complete = bool(lost.records) and not lost.fault
        gap = next(
            (each for each in gaps.are_open(self._database.reader) if each.subject == REVOCATIONS), None
        )
        if complete and gap is not None and gap.detail["at"] > lost.records[-1].at + COPIED_WITHIN:
            complete = False  # the copy was restored, too, from a newer backup than the database

        def unit(tx: Transaction) -> None:
            how = f"the audit log's copy up to record {lost.records[-1].sequence} tells of all"
            for each in gaps.are_open(tx):
                if each.subject == REVOCATIONS or each.subject.startswith(f"{CRL} "):
                    gaps.close(tx, each.subject, how)

        if complete:
            await self._database.write(unit)
        elif lost.fault:
            await self._database.write(lambda tx: gaps.revocations_unknown(tx, tx.now, lost.fault))

    async def _revoke_forgotten(self, reason: str, actor: str) -> int:
        cause = f"issued after the backup that the register was restored from: {reason}"
        count = 0
        while True:
            # The vault's own certificates have a profile; whoever asked for these is not known any more.
            page = self._database.reader.all(
                "SELECT serial FROM certificates c WHERE profile = '' AND request_id IS NULL"
                " AND state IN ('issued', 'precertified')"
                " AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial) LIMIT ?",
                (PAGE,),
            )
            if not page:
                return count

            serials = [row["serial"] for row in page]
            await self._database.write(partial(_revoke_all, serials=serials, cause=cause, actor=actor))
            count += len(serials)


def _revoke_all(tx: Transaction, serials: list[bytes], cause: str, actor: str) -> None:
    for serial in serials:
        if certificates.revocation_of(tx, serial) is None:
            certificates.revoke(tx, serial, certificates.UNSPECIFIED, cause, actor=actor)


def _reconciled_since(rows: Rows, at: int) -> bool:
    """Whether the register was reconciled after that: the next manifest takes the old one's place soon."""
    restored = rows.one("SELECT 1 FROM audit WHERE kind = 'register-restored' AND at >= ? LIMIT 1", (at,))
    closed = rows.one(
        "SELECT 1 FROM register_gaps WHERE subject IN (?, ?) AND closed_at >= ?", (REVOCATIONS, RESTORED, at)
    )
    return restored is not None or closed is not None


def _proves(tx: Transaction, at: int, name: str) -> None:
    gaps.revocations_unknown(tx, at, name)


def _is_news(rows: Rows, crl: outside.Crl) -> bool:
    """Whether only a register that was restored does not know of it."""
    highest = rows.one(
        "SELECT coalesce(max(number), 0) AS n FROM crls WHERE issuer_id = ? AND shard = ?",
        (crl.scope.issuer_id, crl.scope.shard),
    )
    assert highest is not None
    return bool(crl.number > highest["n"]) or any(is_missing(rows, each) for each in crl.said)


def _issued(rows: Rows, content: dict[str, object]) -> Said:
    """What the record of an issuance tells of its certificate."""
    issuer = str(content["issuer"])
    until = content.get("not_after", _issuer_until(rows, issuer))
    names = content.get("names", ())
    assert isinstance(until, int)
    assert isinstance(names, (list, tuple))
    return Said(
        bytes.fromhex(str(content["serial"])),
        issuer,
        0,
        None,
        0,
        until,
        tuple(str(name) for name in names),
        str(content.get("profile", "")),
    )


def _issuer_until(rows: Rows, issuer_id: str) -> int:
    row = rows.one("SELECT certificate FROM issuers WHERE id = ?", (issuer_id,))
    return 0 if row is None else not_after(row["certificate"])


def _do_again(tx: Transaction, record: Record) -> None:
    content = json.loads(record.content)
    if record.kind == "key-blocked":
        blocked_keys.block(tx, bytes.fromhex(content["spki_sha256"]), content["reason"])
    elif record.kind == "crl":
        gaps.count_crl(tx, content["issuer"], content["shard"], content["number"])


def _pass_over(tx: Transaction) -> None:
    """Go on far above whatever was used and is not known."""
    gaps.raise_version(tx, certificates.revocation_version(tx) + gaps.MARGIN)
    for scope in scopes(tx):
        row = tx.one(
            "SELECT coalesce(max(number), 0) AS n FROM crls WHERE issuer_id = ? AND shard = ?",
            (scope.issuer_id, scope.shard),
        )
        assert row is not None
        gaps.count_crl(tx, scope.issuer_id, scope.shard, row["n"] + gaps.MARGIN)
