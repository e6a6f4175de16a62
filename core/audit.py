"""The audit log: hash-chained records, appended in the transaction of the act that they tell of.

A record's hash is SHA-256(previous hash || canonical JSON of {at, content, kind, sequence, subject}), where
canonical means sorted keys, no white space, UTF-8; before the first record stand 32 zero octets.  So an
edit, a deletion, a reordering and a truncation in the middle are found by `verify`.  Cutting off the *tail*
leaves a whole, shorter chain: only a head that was written down elsewhere (`head`, anchored outside this
database) shows that.

Must never: hold a secret.  What is written here is read by auditors and kept for years.

CPS 5.4.1, 5.4.4; BR 5.4.1.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from core.database import Rows

GENESIS = bytes(32)
"""Stands for the hash before the first record."""

_PAGE = 10_000
_canonical = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record's number and hash; (0, GENESIS) of an empty log."""

    sequence: int = 0
    hash: bytes = GENESIS


class AuditChain:
    """The head of the chain, kept by the one writer; rolls back with its unit."""

    def __init__(self, head: Head = Head()) -> None:
        self.head = head
        """Kept by the writer: read before a unit, and put back when the unit is rolled back."""
        self.at_once = False
        """A record was appended that must be copied before its commit is told (core/audit_copy.py)."""

    @classmethod
    def resume(cls, connection: sqlite3.Connection) -> AuditChain:
        """The chain as the database has it."""
        row = connection.execute("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1").fetchone()
        return cls(Head(row[0], row[1]) if row is not None else Head())

    def append(
        self, connection: sqlite3.Connection, at: int, kind: str, subject: str, content: dict[str, Any]
    ) -> None:
        """Append one record: `at` in POSIX seconds, `subject` who or what acted, `content` JSON values.

        Raises TypeError when `content` holds something that JSON cannot.
        """
        sequence = self.head.sequence + 1
        text = _canonical(content)
        digest = digest_of(self.head.hash, sequence, at, kind, subject, text)
        connection.execute(
            "INSERT INTO audit (sequence, at, kind, subject, content, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (sequence, at, kind, subject, text.decode(), digest),
        )
        self.head = Head(sequence, digest)


def head(rows: Rows) -> Head:
    """The newest record's number and hash, to be anchored outside this database."""
    row = rows.one("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
    return Head(row["sequence"], row["hash"]) if row is not None else Head()


def verify(rows: Rows, anchor: Head | None = None) -> list[str]:
    """The faults of the whole log, the first broken record first; empty means whole.

    `anchor` is a head that was written down elsewhere: it must be found in the log as it was.
    """
    faults: list[str] = []
    before = Head()
    latest = 0
    for record in _records(rows):
        sequence = record["sequence"]
        if sequence != before.sequence + 1:
            faults.append(f"record {sequence}: the one before it is {before.sequence}, records are missing")
        text: str = record["content"]
        expected = digest_of(
            before.hash, sequence, record["at"], record["kind"], record["subject"], text.encode()
        )
        if expected != record["hash"] or not _is_object(text):
            faults.append(f"record {sequence}: its hash does not match it and the record before it")
        if record["at"] < latest:
            faults.append(
                f"record {sequence}: it is dated {latest - record['at']} s before an earlier record"
            )
        if anchor is not None and sequence == anchor.sequence and record["hash"] != anchor.hash:
            faults.append(f"record {sequence}: it is not the one that was anchored")
        latest = max(latest, record["at"])
        # Going on from the stored hash shows every further break, and each one only once.
        before = Head(sequence, record["hash"])
    if anchor is not None and before.sequence < anchor.sequence:
        faults.append(
            f"the log ends at {before.sequence}, but {anchor.sequence} was anchored: its end was cut off"
        )
    return faults


def digest_of(before: bytes, sequence: int, at: int, kind: str, subject: str, content: bytes) -> bytes:
    """The hash of a record; `before` is that of the record before it, `content` canonical JSON."""
    record = {
        "at": at,
        "content": msgspec.Raw(content),
        "kind": kind,
        "sequence": sequence,
        "subject": subject,
    }
    return hashlib.sha256(before + _canonical(record)).digest()


def _records(rows: Rows) -> Iterator[sqlite3.Row]:
    after = -(2**63)  # from the very first row, so that a forged number below 1 is seen too
    while page := rows.all(
        "SELECT sequence, at, kind, subject, content, hash FROM audit WHERE sequence > ?"
        " ORDER BY sequence LIMIT ?",
        (after, _PAGE),
    ):
        yield from page
        after = page[-1]["sequence"]


def _is_object(text: str) -> bool:
    """Content goes into the hash as it stands, so it must be one JSON object and nothing more."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False
