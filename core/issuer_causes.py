"""Why the certificate of an issuing CA must be revoked, and since when the CA knows (BR 4.9.1.2: 7 days).

The revocation itself is the superior's: of our root in a ceremony, of another CA by its own means.  So what
the register holds is the clock: it begins when somebody learned of the cause, and ends with publication.
From the record on the issuing CA's certificates are to be renewed (acme_server/store/renewals.py).

Must never: let a clock begin later than somebody learned of the cause; forget one.

BR 4.9.1.2; CP/CPS 4.9.1, 5.7.3; requirements 2.56.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.causes import DAY
from core.database import Row, Rows, Transaction
from core.errors import Refused
from core.issuers import issuer_by_id

WITHIN = 7 * DAY
"""Seconds to the published revocation."""

RENEW_WITHIN = WITHIN // 2
"""Seconds in which clients are told to renew: with the revocation all certificates are worthless at once, and
a ceremony may be held before the last day."""

MAX_NOTE = 1000
"""Characters."""


@dataclass(frozen=True, slots=True)
class IssuerCause:
    """`learned_at` and `ended_at` in POSIX seconds, the latter None while the revocation is not public."""

    issuer_id: str
    learned_at: int
    note: str
    recorded_by: str
    ended_at: int | None
    ended_how: str
    explanation_url: str = ""
    revoked: bool = False

    @property
    def revoke_by(self) -> int:
        """When it must be public."""
        return self.learned_at + WITHIN


def record(
    tx: Transaction, issuer_id: str, learned_at: int, note: str, explanation_url: str = "", *, actor: str
) -> IssuerCause:
    """Begin the clock; `explanation_url` is told to clients.  Raises `Refused`, and nothing changes."""
    if issuer_by_id(tx, issuer_id) is None:
        raise Refused("issuer.unknown", f"there is no issuing CA {issuer_id!r}; see acme-server status")
    if learned_at > tx.now:
        raise Refused("issuer.learned-at", "--learned-at: the CA cannot have learned of it later than now")
    if _open(tx, issuer_id) is not None:
        raise Refused(
            "issuer.recorded", f"the clock of {issuer_id} runs already: acme-server issuers list shows it"
        )
    tx.execute(
        "INSERT INTO issuer_causes (issuer_id, learned_at, note, recorded_at, recorded_by, explanation_url)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (issuer_id, learned_at, _said(note), tx.now, actor, explanation_url),
    )
    tx.audit("issuer-cause", actor, _told(issuer_id, learned_at, note, explanation_url))
    found = _open(tx, issuer_id)
    assert found is not None
    return found


def end(tx: Transaction, issuer_id: str, how: str, *, actor: str, revoked: bool = True) -> IssuerCause:
    """It is public, or (not `revoked`) none is due; `how` says where, or why.

    Raises `Refused`, and nothing changes.
    """
    found = _open(tx, issuer_id)
    if found is None:
        raise Refused("issuer.no-clock", f"no clock runs for {issuer_id!r}: acme-server issuers list")
    tx.execute(
        "UPDATE issuer_causes SET ended_at = ?, ended_how = ?, revoked = ?"
        " WHERE issuer_id = ? AND ended_at IS NULL",
        (tx.now, _said(how), revoked, issuer_id),
    )
    tx.audit("issuer-cause-ended", actor, {"issuer": issuer_id, "how": how, "revoked": revoked})
    return replace(found, ended_at=tx.now, ended_how=how.strip(), revoked=revoked)


def every(rows: Rows) -> list[IssuerCause]:
    """All that were recorded: those whose clock runs first, then what ended last."""
    found = rows.all("SELECT * FROM issuer_causes ORDER BY ended_at IS NOT NULL, ended_at DESC, learned_at")
    return [_cause(row) for row in found]


def open_ones(rows: Rows) -> list[IssuerCause]:
    """Those whose clock runs."""
    found = rows.all("SELECT * FROM issuer_causes WHERE ended_at IS NULL ORDER BY learned_at, id")
    return [_cause(row) for row in found]


def _open(rows: Rows, issuer_id: str) -> IssuerCause | None:
    return next((each for each in open_ones(rows) if each.issuer_id == issuer_id), None)


def _told(issuer_id: str, learned_at: int, note: str, explanation_url: str) -> dict[str, object]:
    told = {"issuer": issuer_id, "learned_at": learned_at, "note": note}
    return told | ({"explanation": explanation_url} if explanation_url else {})


def _said(text: str) -> str:
    if not text.strip() or len(text) > MAX_NOTE:
        raise Refused("issuer.note", f"--note: say it in 1 to {MAX_NOTE} characters")
    return text.strip()


def _cause(row: Row) -> IssuerCause:
    return IssuerCause(
        row["issuer_id"],
        row["learned_at"],
        row["note"],
        row["recorded_by"],
        row["ended_at"],
        row["ended_how"],
        row["explanation_url"],
        bool(row["revoked"]),
    )
