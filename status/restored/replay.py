"""Does again what the copy of the audit log tells of, and a restored register has forgotten.

Every revocation, blocked key, CRL number and open gap after the backup is in the copy for certain, if the
copy itself is whole and was not restored, too.

Must never: close a gap that the copy tells of, or one that is newer than the copy.

CPS 5.7.2, 5.7.4; BR 4.9.9, 7.2.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from core import blocked_keys, gaps, remembered, revocations
from core.audit_copy import Lost, Record
from core.database import Database, Rows, Transaction
from core.gaps import CRL, REVOCATIONS
from status.ocsp.issuers import not_after
from status.restored import outside
from status.restored.outside import Said
from status.restored.put_back import enter

COPIED_WITHIN = 5
"""Seconds by which other records of the audit log's copy may lag behind what the vault did."""

_log = logging.getLogger(__name__)


@dataclass
class _Told:
    """What the forgotten records amount to; `gaps` are those that were open at their end, by subject."""

    said: list[Said] = field(default_factory=list)
    version: int = 0
    gaps: dict[str, dict[str, Any]] = field(default_factory=dict)


async def replay(database: Database, lost: Lost) -> frozenset[str]:
    """Do again what relying parties may have met of it; the subjects of gaps that were open in it."""
    kinds = Counter(record.kind for record in lost.records)
    _log.critical(
        "the register ends at audit record %d and was restored: %d records that it has forgotten are in "
        "the copy of the audit log. %s",
        lost.common.sequence,
        len(lost.records),
        lost.fault,
    )
    told = _read(database.reader, lost)
    # One above all that were seen: a watch elsewhere tells a reconciled register from one that fell.
    version = max(told.version, revocations.version(database.reader)) + 1
    await database.write(lambda tx: gaps.raise_version(tx, version), at_any_time=True)
    count = await enter(database, told.said, "the audit log's copy tells of it")

    def unit(tx: Transaction) -> None:
        for record in lost.records:
            _do_again(tx, record)
        for subject, gap in told.gaps.items():
            if subject == REVOCATIONS:
                gaps.revocations_unknown(tx, gap["detail"]["at"], gap["detail"]["by"])
            else:
                gaps.found(tx, subject, gap["missing"], gap["remedy"], gap["detail"])
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

    await database.write(unit, at_any_time=True)
    return frozenset(told.gaps)


async def judge(database: Database, lost: Lost, open_in_it: frozenset[str]) -> None:
    """Whether the copy tells of everything: then no public artefact is missing."""
    complete = bool(lost.records) and not lost.fault
    found = gaps.are_open(database.reader)
    gap = next((each for each in found if each.subject == REVOCATIONS), None)
    if complete and gap is not None and gap.detail["at"] > lost.records[-1].at + COPIED_WITHIN:
        complete = False  # the copy was restored, too, from a newer backup than the database
    if REVOCATIONS in open_in_it:
        complete = False  # something was missing already when that copy was made

    def unit(tx: Transaction) -> None:
        how = f"the audit log's copy up to record {lost.records[-1].sequence} tells of all"
        for each in gaps.are_open(tx):
            told = each.subject == REVOCATIONS or each.subject.startswith(f"{CRL} ")
            if told and each.subject not in open_in_it:
                gaps.close(tx, each.subject, how)

    if complete:
        await database.write(unit, at_any_time=True)
    elif lost.fault:
        await database.write(lambda tx: gaps.revocations_unknown(tx, tx.now, lost.fault), at_any_time=True)


def _read(rows: Rows, lost: Lost) -> _Told:
    told = _Told()
    known: dict[str, Said] = {}
    for record in lost.records:
        content = json.loads(record.content)
        if record.kind in ("issuance", "issuance-lost", "precertificate"):
            known[content["serial"]] = _issued(rows, content)
        elif record.kind in ("revocation", "revocation-reason"):
            told.version = max(told.version, content.get("version", 0))
            issuer_until = _issuer_until(rows, content["issuer"])
            told.said.append(outside.record(content, known.get(content["serial"]), issuer_until))
        elif record.kind == remembered.COMPLETED:
            told.version = max(told.version, content.get("version", 0))
        elif record.kind == "crl":
            told.version = max(told.version, content["revocation_version"])
        elif record.kind == gaps.OPENED and "remedy" in content:
            told.gaps[content["gap"]] = content
        elif record.kind == gaps.CLOSED:
            told.gaps.pop(content["gap"], None)
    return told


def _do_again(tx: Transaction, record: Record) -> None:
    content = json.loads(record.content)
    if record.kind == "key-blocked":
        blocked_keys.block(tx, bytes.fromhex(content["spki_sha256"]), content["reason"])
    elif record.kind == "crl":
        gaps.count_crl(tx, content["issuer"], content["shard"], content["number"])


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
