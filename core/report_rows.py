"""The rows of problem reports: what was reported, and each step that was taken (BR 4.9.5).

Must never: put what a reporter wrote into the audit log, which is kept for longer than personal data may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from core.database import Row, Rows, Transaction
from core.key_proofs import Proof
from core.problem_reports import Channel, Filed, Kind, Report

_LEAST_CONTACT = 6
"""Characters of a contact that is looked for in notes: a shorter one stands in them by chance."""

_proof_of = msgspec.msgpack.Decoder(Proof).decode
_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_named = msgspec.json.Decoder(dict[str, tuple[str, ...]]).decode


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a report; `at` in POSIX seconds."""

    at: int
    actor: str
    event: str
    note: str


def insert(tx: Transaction, filed: Filed, *, actor: str) -> bool:
    """A new report, with its audit record; False when the number is known, and nothing changes."""
    named = {"serials": filed.serials, "keys": filed.keys, "names": filed.names}
    inserted = tx.execute(
        "INSERT INTO problem_reports (number, received_at, channel, kind, language, named, description,"
        " contact, proof) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            filed.number,
            filed.received_at,
            filed.channel,
            filed.kind,
            filed.language,
            _json(named).decode(),
            filed.description,
            filed.contact,
            None if filed.proof is None else _pack(filed.proof),
        ),
    )
    if inserted.rowcount:
        tx.audit(
            "problem-report-received",
            actor,
            {
                "number": filed.number,
                "received_at": filed.received_at,
                "channel": filed.channel,
                "kind": filed.kind,
                "serials": list(filed.serials),
                "keys": list(filed.keys),
            },
        )
        add_event(tx, filed.number, actor, "received", filed.channel)
    return inserted.rowcount == 1


def prove(tx: Transaction, number: str, spki_sha256: bytes) -> None:
    """The report's proof was checked, and was one."""
    tx.execute("UPDATE problem_reports SET proven_key = ? WHERE number = ?", (spki_sha256, number))


def answer(tx: Transaction, number: str, text: str) -> None:
    """The preliminary report was given; a later one takes its place, and the first one's time stays."""
    tx.execute(
        "UPDATE problem_reports SET answered_at = COALESCE(answered_at, ?), answer = ? WHERE number = ?",
        (tx.now, text, number),
    )


def decide(tx: Transaction, number: str, cause: str, run_id: str) -> None:
    """`cause` "" for nothing to revoke."""
    tx.execute(
        "UPDATE problem_reports SET decided_at = ?, cause = ?, run_id = ?, revoked_at = NULL"
        " WHERE number = ?",
        (tx.now, cause, run_id, number),
    )


def revoked(tx: Transaction, number: str, at: int) -> None:
    """All of it stood on public CRLs by then."""
    tx.execute("UPDATE problem_reports SET revoked_at = ? WHERE number = ?", (at, number))


def close(tx: Transaction, number: str) -> None:
    """Nothing more is to be done."""
    tx.execute("UPDATE problem_reports SET closed_at = ? WHERE number = ?", (tx.now, number))


def erase(tx: Transaction, closed_before: int, most: int) -> list[str]:
    """Take contact and description out of `most` reports that were closed before then; their numbers.

    Also the contact where a note or an answer repeats it.  What is evidence stays: BR 5.5.2.
    """
    found = tx.all(
        "SELECT number, contact FROM problem_reports WHERE closed_at < ? AND closed_at IS NOT NULL"
        " AND erased_at IS NULL ORDER BY closed_at LIMIT ?",
        (closed_before, most),
    )
    # The octets themselves, not only the way to them: without this they stay in the file's free pages.
    tx.execute("PRAGMA secure_delete = ON")
    for row in found:
        number, contact = row["number"], row["contact"].strip()
        if len(contact) >= _LEAST_CONTACT:
            for table, column in (("problem_reports", "answer"), ("problem_report_events", "note")):
                tx.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, '(erased)') WHERE number = ?",
                    (contact, number),
                )
        tx.execute(
            "UPDATE problem_reports SET contact = '', description = '', erased_at = ? WHERE number = ?",
            (tx.now, number),
        )
    tx.execute("PRAGMA secure_delete = OFF")
    return [row["number"] for row in found]


def add_event(tx: Transaction, number: str, actor: str, event: str, note: str = "") -> None:
    """What happened."""
    tx.execute(
        "INSERT INTO problem_report_events (number, at, actor, event, note) VALUES (?, ?, ?, ?, ?)",
        (number, tx.now, actor, event, note),
    )


def by_number(rows: Rows, number: str) -> Report | None:
    """One report."""
    row = rows.one("SELECT * FROM problem_reports WHERE number = ?", (number,))
    return None if row is None else _report(row)


def open_ones(rows: Rows) -> list[Report]:
    """Those that are not closed, the oldest first, without what was written, named and proven in them.

    They should be few, but strangers write them: all of them are looked at twice a minute.
    """
    found = rows.all(
        "SELECT number, received_at, channel, kind, language, answered_at, decided_at, cause, run_id,"
        " revoked_at, closed_at, erased_at, '' AS description, '' AS contact, '' AS answer, NULL AS proof,"
        """ '{"serials":[],"keys":[],"names":[]}' AS named"""
        " FROM problem_reports WHERE closed_at IS NULL ORDER BY received_at, number"
    )
    return [_report(row) for row in found]


def newest(rows: Rows, count: int) -> list[Report]:
    """The newest ones, closed or not."""
    found = rows.all("SELECT * FROM problem_reports ORDER BY received_at DESC, number LIMIT ?", (count,))
    return [_report(row) for row in found]


def chosen(rows: Rows, key: str, name: str, kind: str, decided: str) -> tuple[str, ...]:
    """The open ones that meet all conditions that are not "", the oldest first.

    `key` is hexadecimal, proven or named; `decided` a cause.
    """
    found = rows.all(
        "SELECT number FROM problem_reports p WHERE closed_at IS NULL"
        " AND (? IN ('', lower(hex(coalesce(proven_key, x'00'))))"
        "      OR EXISTS (SELECT 1 FROM json_each(p.named, '$.keys') WHERE value = ?))"
        " AND (? = '' OR EXISTS (SELECT 1 FROM json_each(p.named, '$.names') WHERE value = ?))"
        " AND ? IN ('', kind) AND ? IN ('', cause) ORDER BY received_at, number",
        (key, key, name, name, kind, decided),
    )
    return tuple(row["number"] for row in found)


def events(rows: Rows, number: str) -> Sequence[Event]:
    """What happened to it, the first thing first."""
    found = rows.all(
        "SELECT at, actor, event, note FROM problem_report_events WHERE number = ? ORDER BY id", (number,)
    )
    return [Event(*row) for row in found]


def open_events(rows: Rows) -> set[tuple[str, str]]:
    """(number, event) of all reports that are open."""
    found = rows.all(
        "SELECT e.number, e.event FROM problem_reports p JOIN problem_report_events e ON e.number = p.number"
        " WHERE p.closed_at IS NULL"
    )
    return {(row["number"], row["event"]) for row in found}


def proven_key(rows: Rows, number: str) -> bytes | None:
    """SHA-256 of the key whose compromise the report proved."""
    row = rows.one("SELECT proven_key FROM problem_reports WHERE number = ?", (number,))
    return None if row is None else row["proven_key"]


def _report(row: Row) -> Report:
    named = _named(row["named"])
    filed = Filed(
        number=row["number"],
        received_at=row["received_at"],
        channel=Channel(row["channel"]),
        kind=Kind(row["kind"]),
        language=row["language"],
        serials=named["serials"],
        keys=named["keys"],
        names=named["names"],
        description=row["description"],
        contact=row["contact"],
        proof=None if row["proof"] is None else _proof_of(row["proof"]),
    )
    return Report(
        filed=filed,
        answered_at=row["answered_at"],
        answer=row["answer"],
        decided_at=row["decided_at"],
        cause=row["cause"],
        run_id=row["run_id"],
        revoked_at=row["revoked_at"],
        closed_at=row["closed_at"],
        erased_at=row["erased_at"],
    )
