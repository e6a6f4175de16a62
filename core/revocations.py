"""Revocations: the one row about each, and what may be said of a serial number.

The one row in `revocations` is the only truth about a revocation; OCSP and CRL are two readers of it.  Every
change has a version, by which the readers know what is new.

Must never: forget a row, or decide whether a revocation is justified.

BR 4.9, 4.10, 5.4.1, 7.2.2; RFC 5280 sections 3.3, 5.3.1; RFC 6960 section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from core import blocked_keys
from core.database import Row, Rows, Transaction
from core.errors import CaError

UNSPECIFIED = 0
KEY_COMPROMISE = 1

REASONS = frozenset({0, 1, 3, 4, 5, 9})
"""The subscriber reasons of BR 7.2.2 (RFC 5280 section 5.3.1); 0 states none and is left out on the wire."""


_EXISTS = "state IN ('precertified', 'issued', 'lost')"
"""Of serials that relying parties may meet."""


class UnknownCertificate(CaError):
    """No certificate with this serial was issued here."""


class AlreadyRevoked(CaError):
    """The certificate is revoked already; `revocation` says how."""

    def __init__(self, revocation: Revocation) -> None:
        super().__init__(f"certificate {revocation.serial.hex()} is revoked already")
        self.revocation = revocation


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
    existing = of(tx, serial)
    if existing is not None:
        raise AlreadyRevoked(existing)
    tx.execute(
        "INSERT INTO revocations"
        " (serial, issuer_id, crl_shard, not_after, revoked_at, reason, cause, version, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(serial, row["issuer_id"], row["crl_shard"], row["not_after"]),
            *(tx.now if revoked_at is None else revoked_at, reason, cause, version(tx) + 1),
            tx.now,
        ),
    )
    return _revoked(tx, serial, "revocation", actor)


def upgrade_reason(tx: Transaction, serial: bytes, cause: str, *, actor: str = "system") -> Revocation:
    """Change the reason of a revoked certificate to keyCompromise, the one change that BR 7.2.2 allows.

    The time of revocation stays.  Raises: `UnknownCertificate` when it is not revoked, `AlreadyRevoked` when
    the reason is keyCompromise already.
    """
    existing = of(tx, serial)
    if existing is None:
        raise UnknownCertificate(f"certificate {serial.hex()} is not revoked: revoke it instead")
    if existing.reason == KEY_COMPROMISE:
        raise AlreadyRevoked(existing)
    # Not yet published again: the next CRL has to carry the new reason.
    tx.execute(
        "UPDATE revocations SET reason = ?, cause = ?, version = ?, changed_at = ?, published_at = NULL"
        " WHERE serial = ?",
        (KEY_COMPROMISE, cause, version(tx) + 1, tx.now, serial),
    )
    return _revoked(tx, serial, "revocation-reason", actor)


def revoke_if_blocked(tx: Transaction, row: Row) -> None:
    """Revoke what was signed while its key was being blocked."""
    if blocked_keys.is_blocked(tx, row["spki_sha256"]) and of(tx, row["serial"]) is None:
        revoke(tx, row["serial"], KEY_COMPROMISE, "its key was blocked before it was stored")


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


def of(rows: Rows, serial: bytes) -> Revocation | None:
    """The revocation of a serial."""
    row = rows.one("SELECT * FROM revocations WHERE serial = ?", (serial,))
    return None if row is None else _revocation(row)


def in_scope(rows: Rows, issuer_id: str, shard: int, valid_at: int) -> list[Revocation]:
    """The revocations in one CRL scope of certificates that had not expired at `valid_at`, by serial.

    A CRL must carry an entry until one CRL was issued after the certificate expired (RFC 5280 section 3.3),
    so whoever makes a CRL passes the thisUpdate of the CRL before it, or 0 when there was none.
    """
    found = rows.all(
        "SELECT * FROM revocations WHERE issuer_id = ? AND crl_shard = ? AND not_after >= ? ORDER BY serial",
        (issuer_id, shard, valid_at),
    )
    return [_revocation(row) for row in found]


def version(rows: Rows) -> int:
    """The version of the newest change to any revocation; 0 when there is none.

    Never falls: a register that was restored goes on above what it had forgotten (core/gaps.py).
    """
    floor = "coalesce((SELECT version FROM revocation_floor), 0)"
    found = rows.all(f"SELECT max(coalesce((SELECT MAX(version) FROM revocations), 0), {floor})")
    return int(found[0][0])


def _revoked(tx: Transaction, serial: bytes, kind: str, actor: str) -> Revocation:
    """The record of a change of a revocation, and the row as it is now."""
    revocation = of(tx, serial)
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


def _revocation(row: Row) -> Revocation:
    return Revocation(*(row[name] for name in _REVOCATION))


_REVOCATION = tuple(field.name for field in fields(Revocation))
