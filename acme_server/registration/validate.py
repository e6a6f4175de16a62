"""The validate job: one challenge, from "I am ready" to its result (RFC 8555 section 7.1.6, 7.5.1, 8).

The row is the job: `begin` writes it in the transaction that moves the challenge, and the transaction that
writes the result deletes it, so a killed process loses nothing.  No transaction is open while perspectives
look.

Must never: turn a fault of our own into the applicant's failure, or a missing verdict into permission.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from acme_server import problems
from acme_server.objects import Attempt, Authorization, Challenge, identifier
from acme_server.problems import ErrorType, malformed, refusal
from acme_server.registration import limits
from acme_server.states import AccountStatus, AuthorizationStatus, ChallengeStatus, Event
from acme_server.store import accounts, attempts, authorizations, orders
from core import jobs
from core.clock import Clock
from core.database import Database, Rows, Transaction
from core.errors import Problem, TransientError
from core.evidence import Result, good_until, least_ttl
from core.methods import ISSUANCE, METHODS, reuse
from core.outcome import Outcome
from core.registered_domain import registered_domain
from core.settings import Limits, Settings
from signer import steps

KIND = "validate"

_NAMESPACED = frozenset(ErrorType)


class Perspectives(Protocol):
    """What this room needs of validation.client.Perspectives."""

    async def check(
        self,
        name: str,
        account_url: str,
        method: str,
        token: str,
        thumbprint: str,
        older: Sequence[str] = (),
    ) -> Outcome:
        """Control of the name and CAA, as a quorum of perspectives sees it."""

    async def recheck_caa(self, name: str, account_url: str, caa_method: str) -> Outcome:
        """CAA alone, for the method that was really used."""


def begin(tx: Transaction, challenge_id: str, bounds: Limits) -> Challenge:
    """The client says that it is ready.  A challenge already under way is left as it is.

    Raises `Problem` when the authorization is no longer pending, or a limit is reached.
    """
    challenge = _challenge(tx, challenge_id)
    if challenge.status is not ChallengeStatus.PENDING:
        return challenge
    authorization = authorizations.by_id(tx, challenge.authorization_id)
    assert authorization is not None
    status = authorization.status_at(tx.now)
    if status is AuthorizationStatus.VALID:
        return challenge  # another challenge has done the work; clients that answer all of them do no harm
    if status is not AuthorizationStatus.PENDING:
        raise malformed(f"the authorization of {authorization.name} is {status}; place a new order")
    if not orders.renews(tx, authorization.id):
        limits.must_have_room(tx, KIND, authorization.account_id, bounds)
        limits.must_not_back_off(tx, authorization.account_id, authorization.value, bounds)
    limits.must_be_tried(tx, authorization.id, challenge.id, authorization.expires)
    jobs.add(tx, KIND, challenge.id)
    return authorizations.move_challenge(tx, challenge, Event.ANSWERED)


class ValidateJob:
    """Handler of the jobs of kind "validate"; the subject is the challenge's id."""

    def __init__(
        self, database: Database, perspectives: Perspectives, settings: Settings, clock: Clock
    ) -> None:
        self._database = database
        self._perspectives = perspectives
        self._settings = settings
        self._clock = clock
        registered_domain("example.com")  # reads its list now: inside a transaction all others would wait

    async def __call__(self, challenge_id: str) -> None:
        """Let the perspectives look, and write what they saw.

        Raises `TransientError` while no verdict was reached and attempts are left.
        """
        reader = self._database.reader
        challenge = _challenge(reader, challenge_id)
        authorization = authorizations.by_id(reader, challenge.authorization_id)
        assert authorization is not None
        holder = accounts.with_key(reader, authorization.account_id)
        assert holder is not None
        account, thumbprint, _ = holder
        pending = authorization.status_at(self._clock.now()) is AuthorizationStatus.PENDING
        if not pending or account.status is not AccountStatus.VALID:
            # Deactivated, expired, or decided by another challenge: nobody's hosts are asked for nothing.
            await self._database.write(lambda tx: jobs.done(tx, KIND, challenge_id))
            return
        outcome = await self._perspectives.check(
            authorization.name,
            account.url,
            challenge.type,
            challenge.token,
            thumbprint,
            () if METHODS[challenge.type].key_authorization else accounts.older_keys(reader, account.id),
        )
        steps.reached("0 validated", challenge_id)
        undecided = await self._database.write(lambda tx: self._record(tx, challenge_id, outcome))
        steps.reached("0 recorded", challenge_id)
        if undecided:
            raise TransientError(f"{authorization.name}: {outcome.detail}")

    def _record(self, tx: Transaction, challenge_id: str, outcome: Outcome) -> bool:
        """Write the result; True when another attempt is due."""
        challenge = _challenge(tx, challenge_id)
        authorization = authorizations.by_id(tx, challenge.authorization_id)
        assert authorization is not None
        attempt = attempts.append(tx, authorization, challenge.type, outcome, challenge_id=challenge.id)
        if (
            challenge.status is not ChallengeStatus.PROCESSING
            or authorization.status_at(tx.now) is not AuthorizationStatus.PENDING
        ):
            # Deactivated, expired or decided by another challenge meanwhile: it is on record, and no more.
            jobs.done(tx, KIND, challenge_id)
            return False
        if outcome.result is Result.INDETERMINATE:
            return self._undecided(tx, challenge, authorization, outcome)
        if outcome.result is Result.PASS:
            self._passed(tx, challenge, authorization, attempt)
        else:
            self._failed(tx, challenge, authorization, outcome)
        jobs.done(tx, KIND, challenge_id)
        return False

    def _passed(
        self, tx: Transaction, challenge: Challenge, authorization: Authorization, attempt: Attempt
    ) -> None:
        authorizations.move_challenge(tx, challenge, Event.PASSED)
        oldest = attempt.oldest_datum if attempt.oldest_datum is not None else tx.now
        statements = [each.statement() for each in attempt.outcome.statements]
        ends = good_until(statements)
        expires = min(
            tx.now + self._settings.acme.authorization_lifetime,
            oldest + reuse(challenge.type, least_ttl(statements), tx.now) - ISSUANCE,
        )
        if ends is not None:  # persistUntil (draft-ietf-acme-dns-persist-02 section 4.1)
            expires = min(expires, ends)
        authorizations.record_validation(tx, authorization, attempt, expires=expires)
        orders.advance(tx, authorization.id)

    def _failed(
        self, tx: Transaction, challenge: Challenge, authorization: Authorization, outcome: Outcome
    ) -> None:
        told = as_problem(outcome)
        authorizations.move_challenge(
            tx, challenge, Event.FAILED, error=problems.to_json(told), attempts=challenge.attempts + 1
        )
        authorizations.move(tx, authorization, Event.FAILED)
        summary = problems.joined([(identifier(authorization.value), told)])
        orders.end_on(tx, authorization.id, Event.FAILED, problems.to_json(summary))

    def _undecided(
        self, tx: Transaction, challenge: Challenge, authorization: Authorization, outcome: Outcome
    ) -> bool:
        error = problems.to_json(
            refusal(
                ErrorType.SERVER_INTERNAL,
                f"no verdict could be reached ({outcome.detail}); this is not your failure",
            )
        )
        if challenge.attempts + 1 < self._settings.validation.attempts:
            authorizations.record_attempt(tx, challenge, error)
            return True
        # Attempts start again at 0 when the client answers the challenge again.
        authorizations.move_challenge(tx, challenge, Event.UNDECIDED, error=error)
        jobs.done(tx, KIND, challenge.id)
        return False


def as_problem(outcome: Outcome) -> Problem:
    """What the perspectives found wrong, as RFC 8555 section 6.7 calls it."""
    kind = ErrorType(outcome.problem) if outcome.problem in _NAMESPACED else ErrorType.UNAUTHORIZED
    return refusal(kind, outcome.detail)


def _challenge(rows: Rows, challenge_id: str) -> Challenge:
    challenge = authorizations.challenge_by_id(rows, challenge_id)
    assert challenge is not None
    return challenge
