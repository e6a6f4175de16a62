"""What a register that was restored from a backup is known to lack; while a gap is open, the CA is closed.

Closed means: nothing is issued, no CRL is made, no OCSP answer is signed from this register.  What was
published and is still valid goes on being served, and revocations are taken: neither takes anything back.

Must never: forget a gap; close one without saying how, and by whom.

CPS 5.7.2, 5.7.4; BR 4.9.3, 4.10.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from core import revocations
from core.database import Rows, Transaction
from core.errors import HaltIssuance

JOURNAL, CERTIFICATES, REVOCATIONS, RESTORED, CRL = (
    "journal",
    "certificates",
    "revocations",
    "restored",
    "crl",
)
"""The subjects; a CRL's is followed by its scope."""


OPENED, CLOSED = "register-gap", "register-gap-closed"
"""Kinds of audit records: an older register, put back while a gap is open, must find it again."""

MARGIN = 1_000_000
"""CRL numbers and revocation versions that are passed over where it is not known how high they had come: a
CRL an hour needs a century for them."""


class RegisterBehind(HaltIssuance):
    """The register is older than what was signed or published: see `acme-server reconcile`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that is missing.

    `subject` names it for ever; `remedy` is a sentence for a person; `detail` holds JSON values by which
    it is recognised when it is brought.  Times are POSIX seconds; `closed_at` is None while it is open.
    """

    subject: str
    missing: str
    remedy: str
    detail: dict[str, Any]
    found_at: int
    closed_at: int | None = None
    closed_by: str | None = None
    closed_how: str | None = None


def found(tx: Transaction, subject: str, missing: str, remedy: str, detail: dict[str, Any]) -> bool:
    """Open a gap, or open it again with another `detail`; False when this very one was known before."""
    known = _one(tx, subject)
    if known is not None and known.detail == detail:
        return False
    tx.execute(
        "INSERT INTO register_gaps (subject, missing, remedy, detail, found_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET missing = excluded.missing, remedy = excluded.remedy,"
        " detail = excluded.detail, found_at = excluded.found_at,"
        " closed_at = NULL, closed_by = NULL, closed_how = NULL",
        (subject, missing, remedy, msgspec.json.encode(detail).decode(), tx.now),
    )
    tx.audit(OPENED, "system", {"gap": subject, "missing": missing, "remedy": remedy, "detail": detail})
    return True


def revocations_unknown(tx: Transaction, at: int, by: str) -> None:
    """The register was restored, as `by` shows, and acts until `at` at least are not in it.

    How high revocation versions had come is not known: what is entered from now on is above all of them.
    """
    known = _one(tx, REVOCATIONS)
    if known is None or known.closed_at is not None:
        raise_version(tx, revocations.version(tx) + MARGIN)
    elif known.detail["at"] >= at:
        return  # what has to be found is not less for another proof
    found(
        tx,
        REVOCATIONS,
        "the register was restored from a backup, and nothing at hand tells of every revocation after it",
        "put the newest audit/ back and start again; else bring the newest CRLs and OCSP answers, and accept",
        {"at": at, "by": by},
    )


def crl_unknown(tx: Transaction, issuer_id: str, shard: int, number: int, sha256: str) -> None:
    """A CRL of ours, named by its digest in hexadecimal, that was signed and of which no row knows."""
    name = f"{issuer_id}-{shard}"
    found(
        tx,
        f"{CRL} {name}",
        f"the CRL {name} number {number}, which the vault has signed, and what it revokes",
        f"fetch crl/{name}.crl from a mirror, a CDN or a monitor: acme-server reconcile --crl FILE",
        {"issuer": issuer_id, "shard": shard, "number": number, "sha256": sha256},
    )


def close(tx: Transaction, subject: str, how: str, *, actor: str = "system", seen: Gap | None = None) -> bool:
    """It is mended, or a person answers for it; False when it was not open, or not as it was `seen`."""
    known = _one(tx, subject)
    if seen is not None and (known is None or known.detail != seen.detail):
        return False
    closed = tx.execute(
        "UPDATE register_gaps SET closed_at = ?, closed_by = ?, closed_how = ?"
        " WHERE subject = ? AND closed_at IS NULL",
        (tx.now, actor, how, subject),
    )
    if closed.rowcount:
        tx.audit(CLOSED, actor, {"gap": subject, "how": how})
    return closed.rowcount == 1


def accepted(rows: Rows, subject: str, detail: dict[str, Any]) -> bool:
    """Whether this very gap was closed."""
    known = _one(rows, subject)
    return known is not None and known.detail == detail and known.closed_at is not None


def are_open(rows: Rows) -> list[Gap]:
    """All that is missing now, the oldest first."""
    found = rows.all("SELECT * FROM register_gaps WHERE closed_at IS NULL ORDER BY found_at, subject")
    return [_gap(row) for row in found]


def is_open(rows: Rows, subject: str) -> bool:
    """Whether this one is."""
    known = _one(rows, subject)
    return known is not None and known.closed_at is None


def closed(rows: Rows) -> bool:
    """Whether the CA is closed."""
    return rows.one("SELECT 1 FROM register_gaps WHERE closed_at IS NULL LIMIT 1") is not None


def must_be_none(rows: Rows) -> None:
    """Raises `RegisterBehind` with what is missing while the CA is closed."""
    missing = [gap.missing for gap in are_open(rows)]
    if missing:
        raise RegisterBehind(
            f"the CA is closed until its register is reconciled: {'; '.join(missing)} "
            "(`acme-server reconcile` says what to do)"
        )


def raise_version(tx: Transaction, version: int) -> None:
    """Take the revocation version as made already: the next change of a revocation gets a higher one."""
    tx.execute(
        "INSERT INTO revocation_floor (one, version) VALUES (1, ?)"
        " ON CONFLICT DO UPDATE SET version = max(version, excluded.version)",
        (version,),
    )


def count_crl(tx: Transaction, issuer_id: str, shard: int, number: int) -> bool:
    """Take a CRL number as used; False when the register knows of one as high.

    Its row is all zeros and no digest: no CRL of this number was published from this register.
    """
    highest = "(SELECT coalesce(max(number), 0) FROM crls WHERE issuer_id = ? AND shard = ?)"
    scope = (issuer_id, shard)
    inserted = tx.execute(
        "INSERT INTO crls (issuer_id, shard, number, this_update, next_update, revocation_version, sha256)"
        f" SELECT ?, ?, ?, 0, 0, 0, x'' WHERE ? > {highest}",
        (*scope, number, number, *scope),
    )
    return inserted.rowcount == 1


def _one(rows: Rows, subject: str) -> Gap | None:
    row = rows.one("SELECT * FROM register_gaps WHERE subject = ?", (subject,))
    return None if row is None else _gap(row)


def _gap(row: Any) -> Gap:
    return Gap(**{**dict(row), "detail": msgspec.json.decode(row["detail"])})
