"""The record of attempts: appended with each result, read by whoever must explain one (BR 5.4.1).

Must never: change a row, or take one away; the table itself refuses both.
"""

from __future__ import annotations

import hashlib

import msgspec

from acme_server.objects import Attempt, Authorization
from core.database import Row, Rows, Transaction
from core.evidence import Result, SignedStatement, Statement
from core.outcome import Outcome, View
from core.registered_domain import registered_domain

_encode = msgspec.msgpack.Encoder().encode
_views = msgspec.msgpack.Decoder(tuple[View, ...]).decode
_statements = msgspec.msgpack.Decoder(tuple[SignedStatement, ...]).decode

_COLUMNS = (
    "sequence, id, at, took, authorization_id, challenge_id, order_id, name, method, adn, result, problem,"
    " detail, control_quorum, caa_quorum, oldest_datum, views, statements, set_aside"
)


def append(
    tx: Transaction,
    authorization: Authorization,
    method: str,
    outcome: Outcome,
    *,
    challenge_id: str | None = None,
    order_id: str | None = None,
) -> Attempt:
    """Record an attempt at `challenge_id`, or a CAA recheck for `order_id`, here and in the audit log."""
    seen = [each.statement() for each in outcome.statements]
    statements = _encode(outcome.statements)
    oldest = min((each.checked_at for each in seen), default=None)
    # What contradicts the request is evidence of a fault, and may be any octets.
    set_aside = _encode(outcome.set_aside) if outcome.set_aside else None
    sequence = tx.execute(
        "INSERT INTO attempts (id, at, took, account_id, authorization_id, challenge_id, order_id, name,"
        " domain, method, adn, result, problem, detail, control_quorum, caa_quorum, oldest_datum, views,"
        " statements, set_aside) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            outcome.attempt,
            outcome.at,
            outcome.took,
            authorization.account_id,
            authorization.id,
            challenge_id,
            order_id,
            authorization.name,
            registered_domain(authorization.value),
            method,
            adn := _adn(seen, authorization),
            outcome.result,
            outcome.problem,
            outcome.detail,
            outcome.control_quorum,
            outcome.caa_quorum,
            oldest,
            _encode(outcome.views),
            statements,
            set_aside,
        ),
    ).lastrowid
    assert sequence is not None
    attempt = Attempt(
        sequence, outcome, authorization.id, challenge_id, order_id, authorization.name, method, adn, oldest
    )
    _audit(tx, attempt, authorization.account_id, hashlib.sha256(statements).hexdigest())
    return attempt


def of_authorization(rows: Rows, authorization_id: str) -> list[Attempt]:
    """All attempts at the authorization and for its name at finalize, the first one first."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM attempts WHERE authorization_id = ? ORDER BY sequence", (authorization_id,)
    )
    return [_attempt(row) for row in found]


def newest(rows: Rows, authorization_id: str, most: int) -> list[Attempt]:
    """The last `most` of them, the newest first."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM attempts WHERE authorization_id = ? ORDER BY sequence DESC LIMIT ?",
        (authorization_id, most),
    )
    return [_attempt(row) for row in found]


def recorded(rows: Rows, authorization_id: str) -> int:
    """How many there are."""
    row = rows.one("SELECT COUNT(*) FROM attempts WHERE authorization_id = ?", (authorization_id,))
    assert row is not None
    return int(row[0])


def count(rows: Rows, authorization_id: str, challenge_id: str) -> int:
    """How often the challenge was tried."""
    row = rows.one(
        "SELECT COUNT(*) FROM attempts WHERE authorization_id = ? AND challenge_id = ?",
        (authorization_id, challenge_id),
    )
    assert row is not None
    return int(row[0])


def rechecks(rows: Rows, authorization_id: str, order_id: str) -> int:
    """How often CAA was asked again for the order."""
    row = rows.one(
        "SELECT COUNT(*) FROM attempts WHERE authorization_id = ? AND order_id = ?",
        (authorization_id, order_id),
    )
    assert row is not None
    return int(row[0])


def rechecked(rows: Rows, authorization_id: str, order_id: str, since: int) -> tuple[SignedStatement, ...]:
    """The statements of the order's newest CAA recheck that permits, not older than `since`; or none."""
    row = rows.one(
        "SELECT statements FROM attempts WHERE authorization_id = ? AND order_id = ? AND result = 'pass'"
        " AND oldest_datum >= ? ORDER BY sequence DESC LIMIT 1",
        (authorization_id, order_id, since),
    )
    return () if row is None else _statements(row[0])


def failures(rows: Rows, account_id: str, domain: str, since: int) -> tuple[int, int]:
    """How many validations of the account below `domain` failed after `since` and after the last that passed.

    And when the newest of them was asked; 0 when there is none.
    """
    of_domain = (account_id, domain)
    row = rows.one(
        "SELECT COUNT(*), MAX(at) FROM attempts WHERE challenge_id IS NOT NULL AND account_id = ?"
        " AND domain = ? AND result = 'fail' AND at > MAX(?, COALESCE((SELECT MAX(at) FROM attempts"
        " WHERE challenge_id IS NOT NULL AND account_id = ? AND domain = ? AND result = 'pass'), 0))",
        (*of_domain, since, *of_domain),
    )
    assert row is not None
    return int(row[0]), int(row[1] or 0)


def domains_that_failed(rows: Rows, account_id: str, since: int, most: int) -> list[str]:
    """Registered domains below which a validation of the account failed after `since`."""
    found = rows.all(
        "SELECT DISTINCT domain FROM attempts WHERE challenge_id IS NOT NULL AND account_id = ?"
        " AND result = 'fail' AND at > ? LIMIT ?",
        (account_id, since, most),
    )
    return [row["domain"] for row in found]


def evidence_of_order(rows: Rows, order_id: str) -> tuple[SignedStatement, ...]:
    """The statements by which the order's authorizations became valid, in the order of its identifiers."""
    found = rows.all(
        "SELECT a.statements FROM order_authorizations o JOIN authorizations z ON z.id = o.authorization_id"
        " JOIN attempts a ON a.sequence = z.attempt WHERE o.order_id = ? ORDER BY o.position",
        (order_id,),
    )
    return tuple(statement for row in found for statement in _statements(row[0]))


def _adn(seen: list[Statement], authorization: Authorization) -> str:
    passed = (each.control for each in seen if each.control and each.control.result is Result.PASS)
    return next((each.adn for each in passed), authorization.value)


def _audit(tx: Transaction, attempt: Attempt, account_id: str, evidence: str) -> None:
    """BR 5.4.1: who looked, what each said, the quorum; `evidence` ties the row's octets to the log."""
    outcome = attempt.outcome
    if attempt.order_id is None:
        kind, about = "validation.result", {"challenge": attempt.challenge_id}
    else:
        kind, about = "caa.result", {"order": attempt.order_id}
    tx.audit(
        kind,
        f"account:{account_id}",
        {
            **about,
            "authorization": attempt.authorization_id,
            "attempt": outcome.attempt,
            "name": attempt.name,
            "method": attempt.method,
            "adn": attempt.adn,
            "result": outcome.result,
            "problem": outcome.problem,
            "detail": outcome.detail,
            "perspectives": {view.perspective: _words(view) for view in outcome.views},
            "control": outcome.control_quorum,
            "caa": outcome.caa_quorum,
            "oldest_datum": attempt.oldest_datum,
            "evidence": evidence,
        },
    )


def _words(view: View) -> dict[str, str]:
    if view.absence is not None:
        return {"absent": view.absence.value}
    seen = {"control": view.control, "caa": view.caa}
    return {subject: each.result.value for subject, each in seen.items() if each is not None}


def _attempt(row: Row) -> Attempt:
    # By position, as _COLUMNS has them.
    sequence, id, at, took, authorization_id, challenge_id, order_id, name, method, adn, *rest = row
    result, problem, detail, control, caa, oldest, views, statements, set_aside = rest
    outcome = Outcome(
        id,
        Result(result),
        problem,
        detail,
        _statements(statements),
        _views(views),
        control,
        caa,
        at,
        took,
        () if set_aside is None else _statements(set_aside),
    )
    return Attempt(sequence, outcome, authorization_id, challenge_id, order_id, name, method, adn, oldest)
