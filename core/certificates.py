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
The one row in `revocations` is the only truth about a revocation; OCSP and CRL are two readers of it.

Must never: forget a row, or decide whether a revocation is justified.

BR 4.9, 4.10, 5.4.1, 7.1.2.7, 7.2.2; RFC 5280 sections 3.3, 5.3.1; RFC 6960 section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import msgspec

from core import blocked_keys
from core.database import Row, Rows, Transaction
from core.errors import CaError

UNSPECIFIED = 0
KEY_COMPROMISE = 1

REASONS = frozenset({0, 1, 3, 4, 5, 9})
"""The subscriber reasons of BR 7.2.2 (RFC 5280 section 5.3.1); 0 states none and is left out on the wire."""


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


_EXISTS = "state IN ('precertified', 'issued', 'lost')"
"""Of serials that relying parties may meet."""


class UnknownCertificate(CaError):
    """No certificate with this serial was issued here."""


class IllegalMove(CaError):
    """The register's row is not in a state from which this can be done."""


class AlreadyRevoked(CaError):
    """The certificate is revoked already; `revocation` says how."""

    def __init__(self, revocation: Revocation) -> None:
        super().__init__(f"certificate {revocation.serial.hex()} is revoked already")
        self.revocation = revocation


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


@dataclass(frozen=True, slots=True)
class Revocation:
    """The one row about a revocation.  `published_at` is when a CRL with it was first published."""

    serial: bytes
    issuer_id: str
    crl_shard: int
    not_after: int
    revoked_at: int
    reason: int
    cause: str
    version: int
    published_at: int | None


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """What may be said of a serial: good when `revocation` is None."""

    serial: bytes
    issuer_id: str
    crl_shard: int
    not_before: int
    not_after: int
    revocation: Revocation | None


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
    revoke_if_blocked(tx, row)


def mark_lost(tx: Transaction, id: str) -> None:
    """reserved, precertified -> lost: the key may have been used: the serial counts as issued, is revoked."""
    row = move(tx, id, State.LOST, None)
    if row is None:
        return
    tx.audit("issuance-lost", "system", {"id": id, "serial": row["serial"].hex(), "issuer": row["issuer_id"]})
    if revocation_of(tx, row["serial"]) is None:  # a precertificate may have been revoked before
        revoke(tx, row["serial"], UNSPECIFIED, "crash rule: an intent to sign without a result")


def abandon(tx: Transaction, id: str) -> None:
    """reserved -> abandoned: the key was never used; the serial is not used again."""
    row = move(tx, id, State.ABANDONED, None)
    if row is not None:
        tx.audit("issuance-abandoned", "system", {"id": id, "serial": row["serial"].hex()})


def revoke(
    tx: Transaction,
    serial: bytes,
    reason: int,
    cause: str,
    *,
    actor: str = "system",
    revoked_at: int | None = None,
) -> Revocation:
    """Write the one revocation row, of now or `revoked_at`; `cause` says for the auditors who asked and why.

    Blocks no key: that somebody says keyCompromise is no proof of it (core/compromise.py).  Raises:
    `UnknownCertificate` when nothing with this serial was issued, `AlreadyRevoked` (nothing changes),
    ValueError when BR 7.2.2 forbids the reason.
    """
    _require_reason(reason)
    row = tx.one(f"SELECT * FROM certificates WHERE serial = ? AND {_EXISTS}", (serial,))
    if row is None:
        raise UnknownCertificate(f"no certificate with serial {serial.hex()} was issued here")
    existing = revocation_of(tx, serial)
    if existing is not None:
        raise AlreadyRevoked(existing)
    tx.execute(
        "INSERT INTO revocations"
        " (serial, issuer_id, crl_shard, not_after, revoked_at, reason, cause, version, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(serial, row["issuer_id"], row["crl_shard"], row["not_after"]),
            *(tx.now if revoked_at is None else revoked_at, reason, cause, revocation_version(tx) + 1),
            tx.now,
        ),
    )
    return _revoked(tx, serial, "revocation", actor)


def revoke_if_blocked(tx: Transaction, row: Row) -> None:
    """Revoke what was signed while its key was being blocked."""
    if blocked_keys.is_blocked(tx, row["spki_sha256"]) and revocation_of(tx, row["serial"]) is None:
        revoke(tx, row["serial"], KEY_COMPROMISE, "its key was blocked before it was stored")


def upgrade_reason(tx: Transaction, serial: bytes, cause: str, *, actor: str = "system") -> Revocation:
    """Change the reason of a revoked certificate to keyCompromise, the one change that BR 7.2.2 allows.

    The time of revocation stays.  Raises: `UnknownCertificate` when it is not revoked, `AlreadyRevoked` when
    the reason is keyCompromise already.
    """
    existing = revocation_of(tx, serial)
    if existing is None:
        raise UnknownCertificate(f"certificate {serial.hex()} is not revoked: revoke it instead")
    if existing.reason == KEY_COMPROMISE:
        raise AlreadyRevoked(existing)
    # Not yet published again: the next CRL has to carry the new reason.
    tx.execute(
        "UPDATE revocations SET reason = ?, cause = ?, version = ?, changed_at = ?, published_at = NULL"
        " WHERE serial = ?",
        (KEY_COMPROMISE, cause, revocation_version(tx) + 1, tx.now, serial),
    )
    return _revoked(tx, serial, "revocation-reason", actor)


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


def status_of(rows: Rows, serial: bytes) -> CertificateStatus | None:
    """The status of a serial; None when it is unknown here (reserved and abandoned serials are)."""
    row = rows.one(
        "SELECT c.serial, c.issuer_id, c.crl_shard, c.not_before, c.not_after,"
        " r.revoked_at, r.reason, r.cause, r.version, r.published_at"
        " FROM certificates c LEFT JOIN revocations r ON r.serial = c.serial"
        f" WHERE c.serial = ? AND c.{_EXISTS}",
        (serial,),
    )
    if row is None:
        return None
    return CertificateStatus(
        serial=row["serial"],
        issuer_id=row["issuer_id"],
        crl_shard=row["crl_shard"],
        not_before=row["not_before"],
        not_after=row["not_after"],
        revocation=None if row["version"] is None else _revocation(row),
    )


def revocation_of(rows: Rows, serial: bytes) -> Revocation | None:
    """The revocation of a serial."""
    row = rows.one("SELECT * FROM revocations WHERE serial = ?", (serial,))
    return None if row is None else _revocation(row)


def revocations(rows: Rows, issuer_id: str, shard: int, valid_at: int) -> list[Revocation]:
    """The revocations in one CRL scope of certificates that had not expired at `valid_at`, by serial.

    A CRL must carry an entry until one CRL was issued after the certificate expired (RFC 5280 section 3.3),
    so whoever makes a CRL passes the thisUpdate of the CRL before it, or 0 when there was none.
    """
    found = rows.all(
        "SELECT * FROM revocations WHERE issuer_id = ? AND crl_shard = ? AND not_after >= ? ORDER BY serial",
        (issuer_id, shard, valid_at),
    )
    return [_revocation(row) for row in found]


def revocation_version(rows: Rows) -> int:
    """The version of the newest change to any revocation; 0 when there is none.

    Never falls: a register that was restored goes on above what it had forgotten (core/gaps.py).
    """
    floor = "coalesce((SELECT version FROM revocation_floor), 0)"
    found = rows.all(f"SELECT max(coalesce((SELECT MAX(version) FROM revocations), 0), {floor})")
    return int(found[0][0])


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


def _revoked(tx: Transaction, serial: bytes, kind: str, actor: str) -> Revocation:
    """The record of a change of a revocation, and the row as it is now."""
    revocation = revocation_of(tx, serial)
    assert revocation is not None
    tx.audit(
        kind,
        actor,
        {
            "serial": serial.hex(),
            "issuer": revocation.issuer_id,
            "shard": revocation.crl_shard,
            "not_after": revocation.not_after,
            "reason": revocation.reason,
            "cause": revocation.cause,
            "revoked_at": revocation.revoked_at,
            "version": revocation.version,
        },
    )
    return revocation


def _require_reason(reason: int) -> None:
    if reason not in REASONS:
        allowed = ", ".join(str(code) for code in sorted(REASONS))
        raise ValueError(f"reason {reason} cannot be used for a subscriber certificate: use one of {allowed}")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _certificate(row: Row) -> Certificate:
    values = dict(row)
    values["state"] = State(row["state"])
    values["names"] = tuple(msgspec.json.decode(row["names"]))
    values["versions"] = msgspec.json.decode(row["versions"])
    values["lint"] = None if row["lint"] is None else msgspec.json.decode(row["lint"])
    return Certificate(**values)


def _revocation(row: Row) -> Revocation:
    return Revocation(*(row[name] for name in _REVOCATION))


_REVOCATION = tuple(field.name for field in fields(Revocation))
