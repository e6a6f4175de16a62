"""Finalize: an order from ready to valid (RFC 8555 section 7.4), with the numbers of docs/issuance.md.

`accept` runs in the handler's transaction and writes the job row; the issue job does steps 1 and 2 and the
last half of step 8.  What lies between is `signer.issuance`, which knows certificates but no orders.

Must never: hand over an order whose authorizations are not all valid at one `now`, or one without fresh CAA;
leave a certificate valid that its order did not deliver.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec
from cryptography import x509

from acme_server import problems
from acme_server.exchange import ByAccount
from acme_server.objects import Account, Authorization, Order, identifier
from acme_server.problems import ErrorType, malformed, refusal, unauthorized
from acme_server.registration import csr, holds, profiles, validity
from acme_server.registration.caa_recheck import CaaRecheck
from acme_server.registration.validate import Perspectives
from acme_server.states import AUTHORIZATION, AccountStatus, AuthorizationStatus, Event, OrderStatus
from acme_server.store import accounts, attempts, authorizations, orders
from core import blocked_keys, jobs
from core.clock import Clock
from core.database import Database, Rows, Transaction
from core.errors import Problem, Refused
from core.evidence import SignedStatement
from core.methods import METHODS
from core.settings import Settings
from core.today import Today
from signer import steps
from signer.api import Applicant
from signer.issuance import Approved

KIND = holds.ISSUE

PATIENCE = 3600
"""Seconds after its expiry in which an order that was finalized in time is still tried.  Then it ends,
whatever keeps us from issuing: nobody waits longer, and a subscriber can place a new one."""

KEY_CHANGE_MARGIN = 60
"""Seconds: a validation reads the account's key a little before the perspectives look."""

_applicant = msgspec.msgpack.Decoder(Applicant)
_encode = msgspec.msgpack.Encoder().encode


class Issuance(Protocol):
    """What this room needs of signer.issuance.Issuance."""

    async def issue(self, approved: Approved, finish: Callable[[Transaction, str], None]) -> str:
        """Issue, store and, in the storing transaction, `finish`; safe to call again after a crash."""

    async def withdraw(
        self, request_id: str, delivered: str | None, finish: Callable[[Transaction], None]
    ) -> None:
        """Revoke what was issued for the request and is not `delivered`; `finish` in the same transaction."""


def must_be_ready(order: Order, now: int) -> None:
    """Section 7.4.  Raises `Problem` (orderNotReady)."""
    status = order.status_at(now)
    if status is not OrderStatus.READY:
        raise refusal(
            ErrorType.ORDER_NOT_READY, f"the order is {status}; it can be finalized once, when it is ready"
        )


def must_still_fit(order: Order, settings: Settings, now: int) -> None:
    """The order's profile and times can still be had, as section 7.4 and draft-ietf-acme-profiles-00 ask.

    Raises `Problem` (invalidProfile, malformed).
    """
    profiles.must_fit(order.profile, order.names, settings, now, new=False)
    wish = validity.Wish(order.not_before, order.not_after)
    validity.must_hold(wish, order.profile, settings.profiles[order.profile].validity, now)


def must_be_no_account_key(rows: Rows, spki_sha256: bytes) -> None:
    """Section 11.1: a server MUST NOT certify an account key.  Raises `Problem` (badCSR).

    Asked at finalize and once more by the job, which a person may have kept waiting for days.
    """
    if accounts.is_account_key(rows, spki_sha256):
        raise refusal(ErrorType.BAD_CSR, "the key of the CSR is an account key; make a key of its own")


def accept(
    tx: Transaction,
    order_id: str,
    der: bytes,
    requested: csr.Requested,
    request: ByAccount,
    high_risk: Mapping[str, str],
) -> Order:
    """Take the CSR and begin issuance; of two finalize requests at once only one gets here.

    With `high_risk` names (BR 4.2.1) the order waits for a person instead.  `request` is kept as it was
    signed: the vault believes the account, not us (docs/adr/0012).
    Raises `Problem` (orderNotReady, badCSR, rateLimited), which leaves the order as it is.
    """
    order = _order(tx, order_id)
    must_be_ready(order, tx.now)
    must_be_no_account_key(tx, requested.spki_sha256)
    if blocked_keys.is_blocked(tx, requested.spki_sha256):
        raise refusal(ErrorType.BAD_CSR, "the key of the CSR is known to be compromised; make a new key")
    applicant = Applicant(request.key.json.encode(), request.body, _key_changes(tx, order))
    accepted = orders.finalize(tx, order, der, _encode(applicant))
    if high_risk:
        holds.hold(tx, order, high_risk)
    else:
        jobs.add(tx, KIND, order.id)
    tx.audit(
        "issuance.requested",
        f"account:{order.account_id}",
        {"order": order.id, "names": order.names, "spki_sha256": requested.spki_sha256.hex()},
    )
    return accepted


class IssueJob:
    """Handler of the jobs of kind "issue"; the subject is the order's id."""

    def __init__(
        self,
        database: Database,
        perspectives: Perspectives,
        issuance: Issuance,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._database = database
        self._recheck_caa = CaaRecheck(database, perspectives)
        self._issuance = issuance
        self._clock = clock
        self._settings = settings
        self._today = Today(settings)

    async def __call__(self, order_id: str) -> None:
        """Bring the order to valid or invalid.

        Raises `TransientError` and `HaltIssuance`: the row stays and the job runner tries again.
        """
        reader = self._database.reader
        order = orders.by_id(reader, order_id)
        assert order is not None
        if order.status is not OrderStatus.PROCESSING:
            await self._withdraw(order)
            return
        account = accounts.by_id(reader, order.account_id)
        authorized = authorizations.of_order(reader, order_id)
        evidence = attempts.evidence_of_order(reader, order_id)
        assert account is not None
        now = self._clock.now()
        try:
            _check_time(order, now)
            _check_account(account)
            approved = _approved(order, account, evidence)
            must_be_no_account_key(reader, hashlib.sha256(approved.public_key).digest())
            holds.must_be_decided(reader, order, self._settings, now)
            must_still_fit(order, self._settings, now)
            _check_authorizations(order, authorized, now)
            self._today.require(now)
            steps.reached("1 authorized", order_id)
            fresh = await self._recheck_caa(order, account, authorized, now)
            steps.reached("2 CAA fresh", order_id)
            # That took its time, in which the account or a name may have been given up.
            _check_account(accounts.by_id(reader, order.account_id))
            _check_authorizations(order, authorizations.of_order(reader, order_id), now)
            approved = replace(approved, evidence=evidence + fresh)
            await self._issuance.issue(approved, lambda tx, issued: _deliver(tx, order, issued))
        except Problem as problem:
            await self._refuse(order, problem, problem.detail)
        except Refused as refused:
            await self._refuse(order, _told(refused), str(refused), worthless=_room(refused) in _EVIDENCE)

    async def _refuse(self, order: Order, told: Problem, why: str, *, worthless: bool = False) -> None:
        await self._database.write(
            functools.partial(_refuse, order_id=order.id, told=told, why=why, worthless=worthless)
        )
        await self._withdraw(order)

    async def _withdraw(self, order: Order) -> None:
        """The order has ended.  The job stays until nothing that was tried for it can come to light."""
        await self._issuance.withdraw(
            order.id, order.certificate_id, lambda tx: jobs.done(tx, KIND, order.id)
        )


def _key_changes(tx: Transaction, order: Order) -> tuple[bytes, ...]:
    """The keyChange requests since the order's names were validated: most accounts have none.

    A record that stays may name a key of long ago: then all that the vault follows.
    """
    changes = accounts.key_changes(tx, order.account_id, accounts.MAX_KEY_CHANGES)
    if not changes:
        return ()
    held = authorizations.of_order(tx, order.id)
    if any(each.method is not None and not METHODS[each.method].key_authorization for each in held):
        return tuple(change for _, change in changes)
    since = min((each.oldest_datum or 0) for each in held)
    return tuple(change for at, change in changes if at >= since - KEY_CHANGE_MARGIN)


def _check_time(order: Order, now: int) -> None:
    if now > order.expires + PATIENCE:
        raise refusal(
            ErrorType.SERVER_INTERNAL,
            "the certificate could not be issued in time, by a fault of ours; place a new order",
        )


def _check_account(account: Account | None) -> None:
    assert account is not None
    if account.status is not AccountStatus.VALID:
        raise unauthorized(f"the account is {account.status}")


def _check_authorizations(order: Order, held: Sequence[Authorization], now: int) -> None:
    faults = [
        (
            identifier(each.value),
            unauthorized(f"the authorization of {each.name} is {each.status_at(now)}; place a new order"),
        )
        for each in held
        if each.status_at(now) is not AuthorizationStatus.VALID
    ]
    if faults:
        raise problems.joined(faults)
    if {each.name for each in held} != set(order.names):
        raise refusal(ErrorType.SERVER_INTERNAL, "the order's authorizations are not those of its names")


def _approved(order: Order, account: Account, evidence: tuple[SignedStatement, ...]) -> Approved:
    assert order.csr is not None
    assert order.applicant is not None
    return Approved(
        request_id=order.id,
        account_url=account.url,
        names=order.names,
        public_key=csr.public_key_of(x509.load_der_x509_csr(order.csr)),
        profile=order.profile,
        not_before=order.not_before,
        not_after=order.not_after,
        evidence=evidence,
        applicant=_applicant.decode(order.applicant),
    )


def _deliver(tx: Transaction, order: Order, certificate_id: str) -> None:
    """The last half of (8), in the transaction that stores the certificate."""
    delivered = orders.deliver(tx, order.id, certificate_id)
    if delivered:  # else the job goes on, finds an order that has ended, and withdraws the certificate
        jobs.done(tx, KIND, order.id)
    kind = "order.valid" if delivered else "order.certificate-not-delivered"
    tx.audit(kind, f"account:{order.account_id}", {"order": order.id, "certificate": certificate_id})


def _refuse(tx: Transaction, order_id: str, told: Problem, why: str, worthless: bool) -> None:
    order = _order(tx, order_id)
    if order.status is not OrderStatus.PROCESSING:
        return
    orders.move(tx, order, Event.REFUSED, problems.to_json(told))
    holds.end(tx, order)
    tx.audit("order.refused", f"account:{order.account_id}", {"order": order_id, "why": why})
    if worthless:
        # The next order must not be built on what the vault does not believe.
        for each in authorizations.of_order(tx, order_id):
            if AUTHORIZATION.allows(each.status, Event.REVOKED):
                authorizations.move(tx, each, Event.REVOKED)


def _told(refused: Refused) -> Problem:
    """What the subscriber is told of a refusal further in; the audit log has its own words."""
    room = _room(refused)
    if room == "key":
        return refusal(ErrorType.BAD_CSR, f"the key cannot be certified: {refused.detail}")
    if refused.code == "profile.unknown":
        return profiles.invalid("the profile of the order was withdrawn; place a new order")
    if refused.code in _DATES:
        return malformed(f"{refused.detail}; place a new order")
    if refused.code == "applicant.used":
        # The register was restored from a time before: no second certificate of this order is delivered.
        return refusal(ErrorType.SERVER_INTERNAL, "this order has had its certificate; place a new order")
    if room in _EVIDENCE:
        return unauthorized(f"the validation is not good enough: {refused.detail}; place a new order")
    return refusal(ErrorType.SERVER_INTERNAL, "issuance was refused by our own checks; please tell us")


def _room(refused: Refused) -> str:
    return refused.code.partition(".")[0]


_DATES = ("issuer.begins", "issuer.ends")
"""Refusals that say: no issuing CA has a life that holds the notBefore or notAfter of the order."""

_EVIDENCE = ("evidence", "quorum")
"""Refusals that say: these validations prove nothing."""


def _order(tx: Transaction, order_id: str) -> Order:
    order = orders.by_id(tx, order_id)
    assert order is not None
    return order
