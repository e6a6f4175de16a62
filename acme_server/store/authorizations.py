"""Authorizations and their challenges (RFC 8555 sections 7.1.4, 7.1.5)."""

from __future__ import annotations

from dataclasses import replace

from acme_server.objects import Attempt, Authorization, Challenge, identifier
from acme_server.states import AUTHORIZATION, CHALLENGE, AuthorizationStatus, ChallengeStatus, Event
from core.database import Row, Rows, Transaction
from core.identifiers import split_wildcard

_CHALLENGE = "id, authorization_id, type, status, token, validated, error, attempts"
_COLUMNS = (
    "z.id, z.account_id, z.status, z.value, z.wildcard, z.expires, z.method, z.adn, z.oldest_datum, z.attempt"
)


def insert(tx: Transaction, authorization: Authorization, challenges: tuple[Challenge, ...]) -> None:
    """A new authorization with its challenges."""
    tx.execute(
        "INSERT INTO authorizations (id, account_id, status, type, value, wildcard, expires, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            authorization.id,
            authorization.account_id,
            authorization.status,
            identifier(authorization.value)["type"],
            authorization.value,
            int(authorization.wildcard),
            authorization.expires,
            tx.now,
        ),
    )
    for each in challenges:
        tx.execute(
            "INSERT INTO challenges (id, authorization_id, type, status, token) VALUES (?, ?, ?, ?, ?)",
            (each.id, each.authorization_id, each.type, each.status, each.token),
        )


def by_id(rows: Rows, authorization_id: str) -> Authorization | None:
    """The authorization."""
    row = rows.one(f"SELECT {_COLUMNS} FROM authorizations z WHERE z.id = ?", (authorization_id,))
    return None if row is None else _authorization(row)


def of_order(rows: Rows, order_id: str) -> list[Authorization]:
    """The order's authorizations, in the order of its identifiers."""
    return [
        _authorization(row)
        for row in rows.all(
            f"SELECT {_COLUMNS} FROM order_authorizations o JOIN authorizations z"
            " ON z.id = o.authorization_id WHERE o.order_id = ? ORDER BY o.position",
            (order_id,),
        )
    ]


def reusable(rows: Rows, account_id: str, value: str, wildcard: bool, since: int) -> Authorization | None:
    """The account's newest valid authorization for the name whose oldest datum is not before `since`."""
    row = rows.one(
        f"SELECT {_COLUMNS} FROM authorizations z WHERE z.account_id = ? AND z.value = ? AND z.wildcard = ?"
        " AND z.status = 'valid' AND z.oldest_datum >= ?"
        # Not one of an order that a person has yet to judge, or has refused.
        " AND NOT EXISTS (SELECT 1 FROM order_authorizations o JOIN holds h ON h.order_id = o.order_id"
        " WHERE o.authorization_id = z.id AND h.decision IS NOT 'approved')"
        " ORDER BY z.oldest_datum DESC LIMIT 1",
        (account_id, value, int(wildcard), since),
    )
    return None if row is None else _authorization(row)


def waiting(rows: Rows, account_id: str, value: str, wildcard: bool, least: int) -> Authorization | None:
    """The account's pending authorization for the name that lives longest, if at least until `least`."""
    row = rows.one(
        f"SELECT {_COLUMNS} FROM authorizations z WHERE z.account_id = ? AND z.value = ? AND z.wildcard = ?"
        " AND z.status = 'pending' AND z.expires >= ? ORDER BY z.expires DESC LIMIT 1",
        (account_id, value, int(wildcard), least),
    )
    return None if row is None else _authorization(row)


def holds(rows: Rows, account_id: str, name: str, now: int) -> bool:
    """Whether the account holds a valid authorization for `name` (a wildcard with "*.")."""
    value, wildcard = split_wildcard(name)
    row = rows.one(
        "SELECT 1 FROM authorizations WHERE account_id = ? AND value = ? AND wildcard = ?"
        " AND status = 'valid' AND expires > ? LIMIT 1",
        (account_id, value, int(wildcard), now),
    )
    return row is not None


def under_validation(rows: Rows, kind: str, account_id: str) -> int:
    """How many of the account's challenges have a job of `kind`; it looks at all of these jobs."""
    row = rows.one(
        "SELECT COUNT(*) FROM jobs j JOIN challenges c ON c.id = j.subject"
        " JOIN authorizations z ON z.id = c.authorization_id WHERE j.kind = ? AND z.account_id = ?",
        (kind, account_id),
    )
    assert row is not None
    return int(row[0])


def deactivate_pending(tx: Transaction, account_id: str) -> None:
    """The account has ended, and with it its pending authorizations."""
    after = AUTHORIZATION.move(AuthorizationStatus.PENDING, Event.DEACTIVATED)
    tx.execute(
        "UPDATE authorizations SET status = ? WHERE account_id = ? AND status = 'pending' AND expires > ?",
        (after, account_id, tx.now),
    )


def move(tx: Transaction, authorization: Authorization, event: Event) -> AuthorizationStatus:
    """The status after `event`.  Raises `IllegalMove`."""
    after = AUTHORIZATION.move(authorization.status, event)
    tx.execute("UPDATE authorizations SET status = ? WHERE id = ?", (after, authorization.id))
    return after


def record_validation(
    tx: Transaction, authorization: Authorization, attempt: Attempt, *, expires: int
) -> None:
    """Its validation passed in `attempt`: move it (BR 5.4.1).  Raises `IllegalMove`."""
    after = AUTHORIZATION.move(authorization.status, Event.PASSED)
    tx.execute(
        "UPDATE authorizations SET status = ?, expires = ?, method = ?, adn = ?, oldest_datum = ?,"
        " attempt = ? WHERE id = ?",
        (
            after,
            expires,
            attempt.method,
            attempt.adn,
            attempt.oldest_datum,
            attempt.sequence,
            authorization.id,
        ),
    )


def challenge_by_id(rows: Rows, challenge_id: str) -> Challenge | None:
    """The challenge."""
    row = rows.one(f"SELECT {_CHALLENGE} FROM challenges WHERE id = ?", (challenge_id,))
    return None if row is None else _challenge(row)


def challenges_of(rows: Rows, authorization_id: str) -> list[Challenge]:
    """The authorization's challenges, as they were made."""
    found = rows.all(
        f"SELECT {_CHALLENGE} FROM challenges WHERE authorization_id = ? ORDER BY rowid", (authorization_id,)
    )
    return [_challenge(row) for row in found]


def move_challenge(
    tx: Transaction, challenge: Challenge, event: Event, *, error: str | None = None, attempts: int = 0
) -> Challenge:
    """The challenge after `event`; `error` is a problem document.  Raises `IllegalMove`."""
    after = CHALLENGE.move(challenge.status, event)
    validated = tx.now if after is ChallengeStatus.VALID else None
    tx.execute(
        "UPDATE challenges SET status = ?, validated = ?, error = ?, attempts = ? WHERE id = ?",
        (after, validated, error, attempts, challenge.id),
    )
    return replace(challenge, status=after, validated=validated, error=error, attempts=attempts)


def record_attempt(tx: Transaction, challenge: Challenge, error: str) -> None:
    """One more undecided attempt; the challenge goes on processing and shows why (erratum 5732)."""
    tx.execute(
        "UPDATE challenges SET attempts = ?, error = ? WHERE id = ?",
        (challenge.attempts + 1, error, challenge.id),
    )


def _authorization(row: Row) -> Authorization:
    # By position, as _COLUMNS has them: looking up names in a row costs more than the query.
    id, account_id, status, value, wildcard, *rest = row
    return Authorization(id, account_id, AuthorizationStatus(status), value, bool(wildcard), *rest)


def _challenge(row: Row) -> Challenge:
    id, authorization_id, type, status, *rest = row
    return Challenge(id, authorization_id, type, ChallengeStatus(status), *rest)
