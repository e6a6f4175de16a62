"""The register: every serial number that was ever drawn, what became of it, and its revocation.

A certificate's row is made, in state *reserved*, before the vault is asked for anything, so that no serial
can exist outside of the register.  From there it moves:

    reserved -> precertified   its precertificate is signed (core/precertificates.py), with CT only
    reserved, precertified
      -> issued      the vault returned the signed bytes
      -> lost        the vault's journal has an intent without a result: the key may have been used,
                     so the serial counts as issued and is revoked at once (the crash rule)
    reserved -> abandoned   the journal has no intent: the key was never used, the serial is burnt

Its status is *good* only when it is precertified (which binds us like a certificate) or issued; a reserved or
abandoned serial is unknown to relying parties.
What was revoked is in core/revocations.py.

Must never: forget a row, or decide whether a revocation is justified.

BR 4.10, 5.4.1, 7.1.2.7; RFC 6960 section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from core import revocations
from core.database import Row, Rows, Transaction
from core.errors import CaError
from core.revocations import UNSPECIFIED, UnknownCertificate


class State(StrEnum):
    """What became of a serial number."""

    RESERVED = "reserved"
    PRECERTIFIED = "precertified"
    ISSUED = "issued"
    LOST = "lost"
    ABANDONED = "abandoned"


MOVES: dict[State, frozenset[State]] = {
    State.RESERVED: frozenset({State.PRECERTIFIED, State.ISSUED, State.LOST, State.ABANDONED}),
    State.PRECERTIFIED: frozenset({State.ISSUED, State.LOST}),
    State.ISSUED: frozenset(),
    State.LOST: frozenset(),
    State.ABANDONED: frozenset(),
}


class IllegalMove(CaError):
    """The register's row is not in a state from which this can be done."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is known of a certificate before it is signed.

    `id` is the issuance id and the end of the certificate's URL; `serial` the content octets of the DER
    INTEGER; `request_id` whoever asked, opaque here (the order's id); `versions` the terms, CP/CPS, profile,
    linter and software in force; `evidence` a msgpack array of SignedStatement.
    """

    id: str
    serial: bytes
    issuer_id: str
    crl_shard: int
    request_id: str | None
    account_url: str | None
    profile: str
    names: tuple[str, ...]
    spki_sha256: bytes
    not_before: int
    not_after: int
    versions: dict[str, str]
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A row of the register.  `certificate` is DER, None unless issued; `lint` what the vault reported."""

    id: str
    serial: bytes
    issuer_id: str
    crl_shard: int
    state: State
    request_id: str | None
    account_url: str | None
    profile: str
    names: tuple[str, ...]
    spki_sha256: bytes
    not_before: int
    not_after: int
    versions: dict[str, str]
    evidence: bytes | None
    lint: Any
    tbs_sha256: bytes | None
    precertificate: bytes | None
    certificate: bytes | None
    created_at: int
    signed_at: int | None


def reserve(tx: Transaction, reservation: Reservation) -> None:
    """Insert the row, before the vault is asked.  A serial or id drawn twice raises IntegrityError."""
    r = reservation
    tx.execute(
        "INSERT INTO certificates (id, serial, issuer_id, crl_shard, state, request_id, account_url, profile,"
        " names, spki_sha256, not_before, not_after, versions, evidence, created_at)"
        " VALUES (?, ?, ?, ?, 'reserved', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(r.id, r.serial, r.issuer_id, r.crl_shard, r.request_id, r.account_url, r.profile),
            *(
                _json(r.names),
                r.spki_sha256,
                r.not_before,
                r.not_after,
                _json(r.versions),
                r.evidence,
                tx.now,
            ),
        ),
    )


def store(
    tx: Transaction, id: str, certificate_der: bytes, signed_at: int, tbs_sha256: bytes, lint: Any
) -> None:
    """reserved, precertified -> issued: keep the signed bytes; from now on the serial is good.

    `lint` is a `LintRecord` or anything that JSON can hold.  Storing the same bytes again changes nothing.
    """
    row = move(tx, id, State.ISSUED, certificate_der)
    if row is None:
        return
    tx.execute(
        "UPDATE certificates SET certificate = ?, signed_at = ?, tbs_sha256 = ?, lint = ? WHERE id = ?",
        (certificate_der, signed_at, tbs_sha256, _json(lint), id),
    )
    tx.audit(
        "issuance",
        row["account_url"] or "system",
        {
            "id": id,
            "serial": row["serial"].hex(),
            "issuer": row["issuer_id"],
            "profile": row["profile"],
            "names": msgspec.json.decode(row["names"]),
            "not_after": row["not_after"],
            "tbs_sha256": tbs_sha256.hex(),
        },
    )
    revocations.revoke_if_blocked(tx, row)


def mark_lost(tx: Transaction, id: str) -> None:
    """reserved, precertified -> lost: the key may have been used: the serial counts as issued, is revoked."""
    row = move(tx, id, State.LOST, None)
    if row is None:
        return
    tx.audit("issuance-lost", "system", {"id": id, "serial": row["serial"].hex(), "issuer": row["issuer_id"]})
    if revocations.of(tx, row["serial"]) is None:  # a precertificate may have been revoked before
        revocations.revoke(tx, row["serial"], UNSPECIFIED, "crash rule: an intent to sign without a result")


def abandon(tx: Transaction, id: str) -> None:
    """reserved -> abandoned: the key was never used; the serial is not used again."""
    row = move(tx, id, State.ABANDONED, None)
    if row is not None:
        tx.audit("issuance-abandoned", "system", {"id": id, "serial": row["serial"].hex()})


def by_id(rows: Rows, id: str) -> Certificate | None:
    """The row of an issuance id."""
    row = rows.one("SELECT * FROM certificates WHERE id = ?", (id,))
    return None if row is None else _certificate(row)


def by_serial(rows: Rows, serial: bytes) -> Certificate | None:
    """The row of a serial number."""
    row = rows.one("SELECT * FROM certificates WHERE serial = ?", (serial,))
    return None if row is None else _certificate(row)


def by_request(rows: Rows, request_id: str) -> list[Certificate]:
    """All rows that one request (an order) led to, the oldest first; at most one of them is issued."""
    found = rows.all(
        "SELECT * FROM certificates WHERE request_id = ? ORDER BY created_at, rowid", (request_id,)
    )
    return [_certificate(row) for row in found]


def move(
    tx: Transaction, id: str, to: State, octets: bytes | None, column: str = "certificate"
) -> Row | None:
    """Set the state; the row as it was, or None when it had been moved there before, with the same octets.

    Raises: `UnknownCertificate`, `IllegalMove`.
    """
    row = tx.one("SELECT * FROM certificates WHERE id = ?", (id,))
    if row is None:
        raise UnknownCertificate(f"no issuance {id} in the register: reserve it first")
    state = State(row["state"])
    if state is to and row[column] == octets:
        return None
    if to not in MOVES[state]:
        raise IllegalMove(f"issuance {id} is {state}: it cannot become {to}")
    tx.execute("UPDATE certificates SET state = ? WHERE id = ?", (to.value, id))
    return row


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _certificate(row: Row) -> Certificate:
    values = dict(row)
    values["state"] = State(row["state"])
    values["names"] = tuple(msgspec.json.decode(row["names"]))
    values["versions"] = msgspec.json.decode(row["versions"])
    values["lint"] = None if row["lint"] is None else msgspec.json.decode(row["lint"])
    return Certificate(**values)
