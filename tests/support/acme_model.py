"""RFC 8555 section 7.1.6 once more, in memory and naively: what a request must be answered, and what follows.

It knows no code of ours.  What the RFC leaves to the server (which authorizations an order is given, when
things expire) it takes from the answers, and holds the server to it.  Keys are known by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

CAA_GOOD_FOR = 7 * 3600
PATIENCE = 3600
DAY = 86400
REASONS = (0, 1, 3, 4, 5)


@dataclass(frozen=True)
class Expected:
    """The status of an answer, and the error's word, "" for none."""

    status: int
    problem: str = ""


OK, CREATED = Expected(200), Expected(201)
MALFORMED = Expected(400, "malformed")
FOREIGN = Expected(403, "unauthorized")
ENDED = Expected(401, "unauthorized")


@dataclass(eq=False)
class Account:
    key: str
    contact: list[str]
    status: str = "valid"
    url: str = ""


@dataclass(eq=False)
class Challenge:
    status: str = "pending"
    undecided: int = 0


@dataclass(eq=False)
class Authorization:
    """`stored` is the last state that an act gave it; time may have moved it on."""

    account: Account
    name: str
    url: str
    expires: int
    challenges: dict[str, Challenge]
    stored: str = "pending"
    validated: int = 0

    def status(self, now: int) -> str:
        if self.expires > now:
            return self.stored
        return {"pending": "invalid", "valid": "expired"}.get(self.stored, self.stored)

    def shown(self, now: int) -> dict[str, str]:
        """The challenges that are shown: once decided, those that were tried."""
        every = {kind: each.status for kind, each in self.challenges.items()}
        tried = {kind: status for kind, status in every.items() if status in ("valid", "invalid")}
        return every if self.status(now) == "pending" or not tried else tried


@dataclass(eq=False)
class Order:
    account: Account
    names: tuple[str, ...]
    authorizations: list[Authorization]
    url: str
    finalize: str
    expires: int
    stored: str
    key: str = ""
    certificate: Certificate | None = None
    caa_seen: dict[str, int] = field(default_factory=dict)

    def status(self, now: int) -> str:
        return "invalid" if self.expires <= now and self.stored in ("pending", "ready") else self.stored


@dataclass(eq=False)
class Certificate:
    order: Order
    key: str
    not_after: int
    reason: int | None = None
    """Of its revocation."""


class Model:
    """Accounts, orders, authorizations, certificates and the jobs that wait."""

    def __init__(self, now: int, attempts: int, reuse: int) -> None:
        """`attempts` at a challenge without a verdict; an authorization is shared for `reuse` seconds."""
        self.now = now
        self.accounts: list[Account] = []
        self.orders: list[Order] = []
        self.authorizations: dict[str, Authorization] = {}
        self.certificates: list[Certificate] = []
        self.past_keys: set[str] = set()
        self.blocked: set[str] = set()
        self._attempts = attempts
        self._reuse = reuse
        self._jobs: list[tuple[Authorization, Challenge] | Order] = []

    # --- accounts (7.3) ---------------------------------------------------------------------------------

    def account_of(self, key: str) -> Account | None:
        return next((each for each in self.accounts if each.key == key), None)

    def new_account(
        self, key: str, contact: list[str], *, agreed: bool, only_existing: bool
    ) -> tuple[Expected, Account | None]:
        known = self.account_of(key)
        if known is not None:
            return (OK if known.status == "valid" else ENDED), known
        if only_existing:
            return Expected(400, "accountDoesNotExist"), None
        if not all(each.startswith("mailto:") for each in contact):
            return Expected(400, "unsupportedContact"), None
        if not agreed:
            return Expected(403, "userActionRequired"), None
        if not self._suits_an_account(key):
            return Expected(400, "badPublicKey"), None
        account = Account(key, contact)
        self.accounts.append(account)
        self.past_keys.add(key)
        return CREATED, account

    def update(self, account: Account, contact: list[str]) -> Expected:
        if account.status == "valid":
            account.contact = contact
        return self._of_valid(account)

    def deactivate(self, account: Account) -> Expected:
        expected = self._of_valid(account)
        if expected == OK:
            account.status = "deactivated"
            for order in self._orders_of(account):
                if order.stored in ("pending", "ready"):
                    order.stored = "invalid"
            for each in self.authorizations.values():
                # One whose time is over is invalid already, and stays so.
                if each.account is account and each.status(self.now) == "pending":
                    each.stored = "deactivated"
        return expected

    def change_key(self, account: Account, key: str) -> Expected:
        if account.status != "valid":
            return ENDED
        if self.account_of(key) is not None:
            return Expected(409, "malformed")
        if not self._suits_an_account(key):
            return Expected(400, "badPublicKey")
        account.key = key
        self.past_keys.add(key)
        return OK

    def listed(self, account: Account) -> list[str]:
        """The orders list (7.1.2.1): the open ones by their end, then the others as they were placed."""
        placed = [(each, each.status(self.now)) for each in self._orders_of(account)]
        waiting = [each for each, status in placed if status in ("pending", "ready")]
        done = [each for each, status in placed if status in ("processing", "valid")]
        return [each.url for each in (*sorted(waiting, key=lambda each: each.expires), *done)]

    # --- orders and authorizations (7.4, 7.5) -----------------------------------------------------------

    def may_order(self, account: Account) -> Expected:
        return CREATED if account.status == "valid" else ENDED

    def place(self, order: Order, at: int) -> None:
        """What the server made at a time.  Asserts that its authorizations are such as it may be given."""
        found = order.authorizations
        assert [each.name for each in found] == list(order.names)
        for each in found:
            self.take(each, order.account, at)
        assert at < order.expires <= min(each.expires for each in found)
        assert order.stored == ("ready" if all(each.stored == "valid" for each in found) else "pending")
        self.orders.append(order)

    def may_authorize(self, account: Account, name: str) -> Expected:
        """newAuthz (7.4.1)."""
        if not self._reuse:
            return Expected(404, "malformed")  # it is not offered: no order could make use of it
        if account.status != "valid":
            return ENDED
        return MALFORMED if name.startswith("*.") else CREATED

    def take(self, authorization: Authorization, account: Account, at: int) -> None:
        """What an account was given.  Asserts that it may be, and may rely on it."""
        assert self.authorizations.setdefault(authorization.url, authorization) is authorization
        assert authorization.account is account
        assert authorization.status(at) in ("pending", "valid")
        assert authorization.stored == "pending" or at - authorization.validated <= self._reuse

    def reads(self, account: Account, owner: Account) -> Expected:
        """POST-as-GET of what is `owner`'s."""
        if account.status != "valid":
            return ENDED
        return OK if account is owner else FOREIGN

    def answer(self, account: Account, authorization: Authorization, kind: str) -> Expected:
        expected = self.reads(account, authorization.account)
        challenge = authorization.challenges[kind]
        status = authorization.status(self.now)
        if expected != OK or challenge.status != "pending" or status == "valid":
            return expected
        if status != "pending":
            return MALFORMED
        challenge.status = "processing"
        self._jobs.append((authorization, challenge))
        return OK

    def give_up(self, account: Account, authorization: Authorization) -> Expected:
        expected = self.reads(account, authorization.account)
        if expected != OK:
            return expected
        if authorization.status(self.now) not in ("pending", "valid"):
            return MALFORMED
        authorization.stored = "deactivated"
        for order in self._orders_on(authorization):
            if order.stored in ("pending", "ready"):
                order.stored = "invalid"
        return OK

    def finalize(self, account: Account, order: Order, names: Sequence[str], key: str) -> Expected:
        expected = self.reads(account, order.account)
        if expected != OK:
            return expected
        if order.status(self.now) != "ready":
            return Expected(403, "orderNotReady")
        if set(names) != set(order.names) or key in self.past_keys or key in self.blocked:
            return Expected(400, "badCSR")
        order.stored, order.key = "processing", key
        self._jobs.append(order)
        return OK

    # --- revocation (7.6) -------------------------------------------------------------------------------

    def revoke_by_account(self, account: Account, certificate: Certificate, reason: int) -> Expected:
        if account.status != "valid":
            return ENDED
        if reason not in REASONS:
            return Expected(400, "badRevocationReason")
        held = {
            each.name
            for each in self.authorizations.values()
            if each.account is account and each.status(self.now) == "valid"
        }
        if certificate.order.account is account:
            return self._revoke(certificate, reason)
        if not set(certificate.order.names) <= held:
            return FOREIGN
        # Who holds the names now can say that they changed hands, and no more (BR 4.9.1.1).
        return self._revoke(certificate, 5) if reason in (0, 5) else Expected(400, "badRevocationReason")

    def revoke_by_key(self, key: str, certificate: Certificate, reason: int) -> Expected:
        if reason not in REASONS:
            return Expected(400, "badRevocationReason")
        if key != certificate.key:
            return FOREIGN
        if reason != 1:
            return self._revoke(certificate, reason)
        siblings = [each for each in self.certificates if each.key == key and each.not_after >= self.now]
        proven = [each for each in {certificate, *siblings} if each.reason != 1]
        if key in self.blocked and not proven:
            return Expected(400, "alreadyRevoked")
        self.blocked.add(key)
        for each in proven:
            each.reason = 1
        holder = self.account_of(key)
        if holder is not None:  # it took the key while the certificate was being made
            self.deactivate(holder)
        return OK

    # --- what the server does by itself -----------------------------------------------------------------

    def work(self, verdict: str, name: str, *, away: bool) -> list[Authorization]:
        """Every job runs once: `name` meets the verdict, all others pass; `away`: nothing can be signed.

        What became valid.
        """
        before = {each.url for each in self.authorizations.values() if each.stored == "valid"}
        waiting, self._jobs = self._jobs, []
        for job in waiting:
            if isinstance(job, Order):
                stays = self._issue(job, verdict, name, away)
            else:
                stays = self._validate(*job, verdict if job[0].name == name else "pass")
            if stays:
                self._jobs.append(job)
        valid = [each for each in self.authorizations.values() if each.stored == "valid"]
        return [each for each in valid if each.url not in before]

    def _validate(self, authorization: Authorization, challenge: Challenge, verdict: str) -> bool:
        if authorization.status(self.now) != "pending" or authorization.account.status != "valid":
            return False
        if verdict == "undecided":
            challenge.undecided += 1
            if challenge.undecided < self._attempts:
                return True
            challenge.undecided, challenge.status = 0, "pending"
            return False
        passed = verdict != "fail"
        challenge.status = authorization.stored = "valid" if passed else "invalid"
        authorization.validated = self.now
        for order in self._orders_on(authorization):
            if not passed and order.stored == "pending":
                order.stored = "invalid"
            elif order.status(self.now) == "pending" and self._all_valid(order):
                order.stored = "ready"
        return False

    def _issue(self, order: Order, verdict: str, name: str, away: bool) -> bool:
        if order.stored != "processing":
            return False
        late = self.now > order.expires + PATIENCE
        if late or order.account.status != "valid" or not self._all_valid(order):
            order.stored = "invalid"
            return False
        asked = [
            each.name
            for each in order.authorizations
            if self.now - max(each.validated, order.caa_seen.get(each.name, 0)) > CAA_GOOD_FOR
        ]
        if name in asked and verdict == "forbid":
            order.stored = "invalid"
            return False
        undecided = name in asked and verdict == "undecided"
        order.caa_seen |= dict.fromkeys(set(asked) - ({name} if undecided else set()), self.now)
        if undecided or away:
            return True
        order.stored = "valid"
        order.certificate = Certificate(order, order.key, self.now + 90 * DAY)
        if order.key in self.blocked:  # blocked since it was asked for
            order.certificate.reason = 1
        self.certificates.append(order.certificate)
        return False

    def _all_valid(self, order: Order) -> bool:
        return all(each.status(self.now) == "valid" for each in order.authorizations)

    def _revoke(self, certificate: Certificate, reason: int) -> Expected:
        if certificate.reason is not None:
            return Expected(400, "alreadyRevoked")
        certificate.reason = reason
        return OK

    def _suits_an_account(self, key: str) -> bool:
        return key not in self.blocked and all(each.key != key for each in self.certificates)

    def _of_valid(self, account: Account) -> Expected:
        return OK if account.status == "valid" else ENDED

    def _orders_of(self, account: Account) -> Iterator[Order]:
        return (each for each in self.orders if each.account is account)

    def _orders_on(self, authorization: Authorization) -> Iterator[Order]:
        return (each for each in self.orders if authorization in each.authorizations)
