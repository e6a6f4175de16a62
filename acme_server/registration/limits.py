"""Limits on validations: how many may wait, and how soon one may follow others that failed.

They answer 429 rateLimited with the sentence that says which limit it is and when it frees (RFC 8555 section
6.6), in the transaction of the request, so that nothing else of it happens.  Failures are counted in the
record of attempts: a restart forgets nothing.

Must never: count a fault of our own, or make a name wait for what another account did.
"""

from __future__ import annotations

from dataclasses import dataclass

from acme_server.registration.rates import moment, refused
from acme_server.store import attempts, authorizations
from core import jobs
from core.database import Rows, Transaction
from core.errors import Problem
from core.registered_domain import registered_domain
from core.settings import Limits

QUEUE_PAUSE = 30
"""Seconds until a queue that is full is worth another try: it moves by some hundred in that time."""

ATTEMPTS = 100
"""At one challenge in all.  No verdict so often is a fault of ours that lasts; its record must not grow for
ever, and a new order has a new challenge."""


def must_have_room(rows: Rows, kind: str, account_id: str, limits: Limits) -> None:
    """The queue of jobs of `kind` has room for one more of the account.  Raises `Problem` (rateLimited).

    Once it is half full nobody gets more than a tenth of it, so that one account cannot shut out the others.
    """
    most = limits.validations_waiting
    waiting = jobs.waiting(rows, kind, most)
    again = f"answer the challenge again in {QUEUE_PAUSE} s"
    if waiting >= most:
        raise refused(
            "validations-waiting",
            f"{most} validations wait already, which is our limit for all accounts together; {again}",
            QUEUE_PAUSE,
        )
    share = max(1, most // 10)
    if waiting * 2 >= most and authorizations.under_validation(rows, kind, account_id) >= share:
        raise refused(
            "validations-waiting",
            f"{waiting} validations wait already, and of so many an account may have {share}; {again}",
            QUEUE_PAUSE,
        )


@dataclass(frozen=True, slots=True)
class BackOff:
    """Failures in a row of an account below `domain`; the next validation may begin at `frees_at`."""

    domain: str
    failed: int
    newest: int
    frees_at: int

    @property
    def sentence(self) -> str:
        """What failed, and until when it has to wait."""
        return (
            f"{self.failed} validations of names below {self.domain} failed for this account, the last at "
            f"{moment(self.newest)}; the next may begin at {moment(self.frees_at)}. Mend first what their "
            "errors said"
        )


def back_off_of(rows: Rows, account_id: str, domain: str, limits: Limits, now: int) -> BackOff:
    """How the account stands below a registered domain."""
    failed, newest = attempts.failures(rows, account_id, domain, remembered(limits, now))
    return BackOff(domain, failed, newest, newest + back_off(failed, limits) if failed else 0)


def remembered(limits: Limits, now: int) -> int:
    """Failures before this time are forgotten."""
    return now - 2 * limits.failure_wait_most


def must_not_back_off(tx: Transaction, account_id: str, value: str, limits: Limits) -> None:
    """The account may have `value` (without "*.") validated now.  Raises `Problem` (rateLimited)."""
    found = back_off_of(tx, account_id, registered_domain(value), limits, tx.now)
    if found.frees_at > tx.now:
        raise refused_by(found, tx.now)


def refused_by(found: BackOff, now: int) -> Problem:
    """The refusal while it has to wait."""
    return refused("failures", found.sentence, found.frees_at - now)


def must_be_tried(tx: Transaction, authorization_id: str, challenge_id: str, expires: int) -> None:
    """The challenge was not tried too often.  Raises `Problem` (rateLimited)."""
    if attempts.count(tx, authorization_id, challenge_id) >= ATTEMPTS:
        raise refused(
            "attempts",
            f"{ATTEMPTS} attempts at this challenge found no verdict, by a fault of ours: place a new order",
            expires - tx.now,
        )


def back_off(failures: int, limits: Limits) -> int:
    """Seconds from the last of so many failures in a row to the next validation."""
    beyond = failures - limits.failures_free
    return 0 if beyond < 0 else min(limits.failure_wait << min(beyond, 32), limits.failure_wait_most)
