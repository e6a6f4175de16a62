"""Many accounts against a naive model of RFC 8555 section 7.1.6: every answer and state must be the model's.

Everything is real but the perspectives and the issuance.  After each step all that the server would show is
compared; at the end each account reads it over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from acme_server import resources
from acme_server.store import accounts, authorizations, orders
from core import audit
from core.errors import TransientError
from core.settings import Limits
from tests.support.acme_client import AcmeClient, Answer, b64, csr, ec_key, jwk, sign
from tests.support.acme_front import Front, running
from tests.support.acme_model import (
    DAY,
    Account,
    Authorization,
    Certificate,
    Challenge,
    Expected,
    Model,
    Order,
)

PLENTY = 10**6
ATTEMPTS = 2
KEYS = {f"k{number}": ec_key() for number in range(1, 10)}
NAMES = ("a.example.com", "b.example.com", "*.example.com", "example.com")
ORDERED = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)
METHODS = st.sampled_from(("http-01", "dns-01"))
KEY = st.sampled_from(sorted(KEYS)[:6])
CERTIFIED = st.sampled_from(sorted(KEYS)[4:])
ANY_KEY = st.sampled_from(sorted(KEYS))
"""The keys of accounts and those of certificates, some of them in both."""


def generous(reuse: int) -> Any:
    """No limit is met; a challenge is tried twice; valid authorizations are shared for `reuse` seconds."""
    limits = replace(
        Limits(),
        failures_free=PLENTY,
        new_account_address=PLENTY,
        new_order_account=PLENTY,
        certificate_domain=PLENTY,
        certificate_set=PLENTY,
    )
    return lambda settings: replace(
        settings,
        limits=limits,
        acme=replace(settings.acme, authorization_reuse=reuse),
        validation=replace(settings.validation, methods=("http-01", "dns-01"), attempts=ATTEMPTS),
    )


class Subscribers(RuleBasedStateMachine):
    """They do what they like in any order, to what is theirs and to what is not."""

    everyone = Bundle("everyone")
    placed = Bundle("placed")
    issued = Bundle("issued")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.closing = AsyncExitStack()
        self.nonces: set[str] = set()
        self.sent: tuple[str, dict[str, Any]] | None = None
        self.steps = 0
        self.front: Front
        self.model: Model

    @initialize(target=everyone, reuse=st.sampled_from([0, 3 * DAY]))
    def open(self, reuse: int) -> Any:
        directory = self.closing.enter_context(tempfile.TemporaryDirectory())
        change = generous(reuse)
        self.front = self.runner.run(self.closing.enter_async_context(running(Path(directory), change)))
        self.model = Model(self.front.clock.at, ATTEMPTS, reuse)
        return multiple(*(self.register(key, [], True, False) for key in ("k1", "k2", "k3")))

    def teardown(self) -> None:
        try:
            if hasattr(self, "model"):
                self.everything_is_read_over_http()
        finally:
            self.runner.run(self.closing.aclose())
            self.runner.close()

    # --- accounts ---------------------------------------------------------------------------------------

    @rule(
        target=everyone,
        key=KEY,
        contact=st.sampled_from([[], ["mailto:a@example.org"], ["tel:+81312345678"]]),
        agreed=st.sampled_from([True, True, True, False]),
        only_existing=st.sampled_from([False, False, False, True]),
    )
    def new_account(self, key: str, contact: list[str], agreed: bool, only_existing: bool) -> Any:
        account = self.register(key, contact, agreed, only_existing)
        return multiple() if account is None else account

    def register(self, key: str, contact: list[str], agreed: bool, only_existing: bool) -> Account | None:
        """The account that was made, if one was."""
        members = {"contact": contact, "termsOfServiceAgreed": agreed, "onlyReturnExisting": only_existing}
        expected, account = self.model.new_account(key, contact, agreed=agreed, only_existing=only_existing)
        answer = self.post(key, "/acme/new-account", members, expected)
        if account is None or answer.status not in (200, 201):
            return None
        account.url = account.url or answer.headers["Location"]
        assert answer.headers["Location"] == account.url
        return account if answer.status == 201 else None

    @rule(account=everyone, contact=st.sampled_from([[], ["mailto:b@example.org"]]))
    def update(self, account: Account, contact: list[str]) -> None:
        expected = self.model.update(account, contact)
        self.post(account, account.url, {"contact": contact, "status": "revoked"}, expected)

    @precondition(lambda self: sum(each.status == "valid" for each in self.model.accounts) > 2)
    @rule(account=everyone)
    def deactivate(self, account: Account) -> None:
        self.post(account, account.url, {"status": "deactivated"}, self.model.deactivate(account))

    @rule(account=everyone, key=KEY)
    def change_key(self, account: Account, key: str) -> None:
        url = self.client.url("/acme/key-change")
        old, new = KEYS[account.key], KEYS[key]
        header = {"alg": "ES256", "jwk": jwk(new), "url": url}
        inner = sign(new, header, json.dumps({"account": account.url, "oldKey": jwk(old)}).encode())
        signer, holder = account.key, self.model.account_of(key)
        answer = self.post(account, url, inner, self.model.change_key(account, key), signer=signer)
        if answer.status == 409:
            assert holder is not None
            assert answer.headers["Location"] == holder.url

    @rule(account=everyone, owner=everyone)
    def read_account_and_orders(self, account: Account, owner: Account) -> None:
        expected = self.model.reads(account, owner)
        self.post(account, owner.url, None, expected)
        answer = self.post(account, f"{owner.url}/orders", None, expected)
        if answer.status == 200:
            assert answer.body["orders"] == self.model.listed(owner)

    # --- orders -----------------------------------------------------------------------------------------

    @rule(target=placed, account=everyone, names=ORDERED)
    def new_order(self, account: Account, names: list[str]) -> Any:
        wanted = {"identifiers": [{"type": "dns", "value": each} for each in names]}
        answer = self.post(account, "/acme/new-order", wanted, self.model.may_order(account))
        if answer.status != 201:
            return multiple()
        placed_at = self.model.now
        order = Order(
            account,
            tuple(dict.fromkeys(names)),
            [self.authorization(account, url) for url in answer.body["authorizations"]],
            answer.headers["Location"],
            answer.body["finalize"],
            at(answer.body["expires"]),
            answer.body["status"],
        )
        self.model.place(order, placed_at)
        return order

    @rule(account=everyone, name=st.sampled_from(NAMES))
    def authorize_beforehand(self, account: Account, name: str) -> None:
        identifier = {"type": "dns", "value": name}
        expected = self.model.may_authorize(account, name)
        answer = self.post(account, "/acme/new-authz", {"identifier": identifier}, expected)
        if answer.status == 201:
            made_at = self.model.now
            found = self.authorization(account, answer.headers["Location"])
            assert found.name == name
            self.model.take(found, account, made_at)

    @rule(account=everyone, order=placed, which=st.integers(0, 2), method=METHODS)
    def answer_challenge(self, account: Account, order: Order, which: int, method: str) -> None:
        authorization = order.authorizations[which % len(order.authorizations)]
        kind = method if method in authorization.challenges else "dns-01"
        url = self.challenge_url(authorization, kind)
        self.post(account, url, {}, self.model.answer(account, authorization, kind))

    @rule(order=placed, method=METHODS)
    def validate(self, order: Order, method: str) -> None:
        self.answer_all(order, method)
        self.work("pass", NAMES[0], away=False)

    @rule(order=placed, method=METHODS)
    def answer_all(self, order: Order, method: str) -> None:
        for which in range(len(order.authorizations)):
            self.answer_challenge(order.account, order, which, method)

    @rule(account=everyone, order=placed, which=st.integers(0, 2))
    def give_up(self, account: Account, order: Order, which: int) -> None:
        authorization = order.authorizations[which % len(order.authorizations)]
        expected = self.model.give_up(account, authorization)
        self.post(account, authorization.url, {"status": "deactivated"}, expected)

    @rule(account=everyone, order=placed)
    def read_order(self, account: Account, order: Order) -> None:
        expected = self.model.reads(account, order.account)
        self.post(account, order.url, None, expected)
        self.post(account, order.authorizations[0].url, None, expected)
        if order.certificate is not None:
            self.post(account, self.certificate_url(order), None, expected)

    @rule(order=placed, key=CERTIFIED)
    def finalize(self, order: Order, key: str) -> None:
        self.finalize_as(order.account, order, key, "")

    @rule(account=everyone, order=placed, key=ANY_KEY, extra=st.sampled_from(["", *NAMES]))
    def finalize_as(self, account: Account, order: Order, key: str, extra: str) -> None:
        names = dict.fromkeys([*order.names, extra] if extra else order.names)
        request = b64(csr(KEYS[key], names))
        expected = self.model.finalize(account, order, list(names), key)
        self.post(account, order.finalize, {"csr": request}, expected)

    @precondition(lambda self: sum(each.status == "valid" for each in self.model.accounts) > 2)
    @rule(order=placed, key=CERTIFIED)
    def leave_while_it_is_issued(self, order: Order, key: str) -> None:
        self.validate(order, "dns-01")
        self.finalize(order, key)
        self.deactivate(order.account)

    # --- revocation -------------------------------------------------------------------------------------

    @rule(target=issued, account=everyone, names=ORDERED, method=METHODS, key=CERTIFIED)
    def issue(self, account: Account, names: list[str], method: str, key: str) -> Any:
        """All of it at once, when the account and the key are good for it."""
        order = self.new_order(account, names)
        if not isinstance(order, Order):
            return multiple()
        self.answer_all(order, method)
        self.work("pass", NAMES[0], away=False)
        self.finalize(order, key)
        self.work("pass", NAMES[0], away=False)
        return self.certificate_of(order)

    @rule(target=issued, order=placed)
    def certificate_of(self, order: Order) -> Any:
        return multiple() if order.certificate is None else order.certificate

    @rule(account=everyone, certificate=issued, reason=st.sampled_from([0, 1, 4, 5, 9]))
    def revoke_by_account(self, account: Account, certificate: Certificate, reason: int) -> None:
        expected = self.model.revoke_by_account(account, certificate, reason)
        self.revoke(account, certificate, reason, expected)

    @rule(
        account=everyone, certificate=issued, days=st.sampled_from([0, 31]), reason=st.sampled_from([0, 4, 5])
    )
    def show_the_names_and_revoke(
        self, account: Account, certificate: Certificate, days: int, reason: int
    ) -> None:
        """Whoever holds valid authorizations for all the names may; who held them once may not."""
        order = self.new_order(account, list(certificate.order.names))
        if isinstance(order, Order):
            self.validate(order, "dns-01")
        self.wait(days)
        self.revoke_by_account(account, certificate, reason)

    @rule(order=placed, key=KEY, other=KEY)
    def change_key_and_finalize_with_the_old_one(self, order: Order, key: str, other: str) -> None:
        self.validate(order, "dns-01")
        self.change_key(order.account, key)
        self.change_key(order.account, other)
        self.finalize(order, key)

    @rule(key=CERTIFIED, certificate=issued, reason=st.sampled_from([0, 1, 4]))
    def revoke_by_some_key(self, key: str, certificate: Certificate, reason: int) -> None:
        self.revoke(key, certificate, reason, self.model.revoke_by_key(key, certificate, reason))

    @rule(certificate=issued, reason=st.sampled_from([1, 4]))
    def revoke_by_its_key(self, certificate: Certificate, reason: int) -> None:
        expected = self.model.revoke_by_key(certificate.key, certificate, reason)
        self.revoke(certificate.key, certificate, reason, expected)

    # --- the world --------------------------------------------------------------------------------------

    @rule(
        verdict=st.sampled_from(["pass", "pass", "pass", "fail", "undecided", "forbid"]),
        name=st.sampled_from(NAMES),
        away=st.sampled_from([False, False, False, True]),
    )
    def work(self, verdict: str, name: str, away: bool) -> None:
        seen = self.front.perspectives
        seen.pass_names = set(NAMES) - ({name} if verdict == "fail" else set())
        seen.undecided = {name} if verdict == "undecided" else set()
        seen.caa_forbids = {name} if verdict == "forbid" else set()
        self.front.issuance.fault = TransientError("the vault is away") if away else None
        validated = self.model.work(verdict, name, away=away)
        self.runner.run(self.front.run_jobs())
        for each in validated:
            # For how long it is good now is the server's choice.
            found = authorizations.by_id(self.front.database.reader, each.url.rpartition("/")[2])
            assert found is not None
            assert self.model.now < found.expires <= self.model.now + 30 * DAY
            each.expires = found.expires

    @rule(days=st.sampled_from([0.2, 0.5, 1, 3, 8]))
    def wait(self, days: float) -> None:
        self.pass_time(int(days * DAY))

    @rule()
    def replay(self) -> None:
        if self.sent is not None:
            answer = self.runner.run(self.client.send(*self.sent))
            self.check(answer, Expected(400, "badNonce"))

    # --- what must always hold ---------------------------------------------------------------------------

    @invariant()
    def every_state_is_the_models(self) -> None:
        if not hasattr(self, "model"):
            return
        reader, urls, now = self.front.database.reader, self.front.context.urls, self.model.now
        for row in reader.all("SELECT id, account_id FROM orders"):
            order = orders.by_id(reader, row["id"])
            assert order is not None
            shown = resources.order(order, orders.authorization_ids(reader, order.id), urls, now)
            self.compare_order(urls.order(order.id), shown)
        for row in reader.all("SELECT id, account_id FROM authorizations"):
            holder = accounts.by_id(reader, row["account_id"])
            held = authorizations.by_id(reader, row["id"])
            assert holder is not None
            assert held is not None
            challenges = authorizations.challenges_of(reader, held.id)
            shown = resources.authorization(held, challenges, holder, self.front.context.settings, urls, now)
            self.compare_authorization(urls.authorization(held.id), shown)
        found = reader.all("SELECT url, status, contact FROM accounts ORDER BY rowid")
        assert [(row["url"], row["status"], json.loads(row["contact"])) for row in found] == [
            (each.url, each.status, each.contact) for each in self.model.accounts
        ]
        revoked = reader.all("SELECT reason FROM revocations ORDER BY reason")
        reasons = [each.reason for each in self.model.certificates if each.reason is not None]
        assert [row["reason"] for row in revoked] == sorted(reasons)

    @invariant()
    def no_order_has_two_certificates_and_no_serial_comes_twice(self) -> None:
        if not hasattr(self, "model"):
            return
        rows = self.front.database.reader.all("SELECT serial, request_id FROM certificates")
        assert len({row["serial"] for row in rows}) == len(rows) == len(self.model.certificates)
        assert len({row["request_id"] for row in rows}) == len(rows)

    @invariant()
    def the_audit_chain_holds(self) -> None:
        self.steps += 1
        if self.steps % 20 == 0:
            assert audit.verify(self.front.database.reader) == []

    def everything_is_read_over_http(self) -> None:
        """Each account reads all that is its own."""
        assert audit.verify(self.front.database.reader) == []
        for order in self.model.orders:
            expected = self.model.reads(order.account, order.account)
            answer = self.post(order.account, order.url, None, expected)
            if expected.status == 200:
                self.compare_order(order.url, answer.body)
        for url, authorization in self.model.authorizations.items():
            expected = self.model.reads(authorization.account, authorization.account)
            answer = self.post(authorization.account, url, None, expected)
            if expected.status == 200:
                self.compare_authorization(url, answer.body)

    def compare_order(self, url: str, shown: dict[str, Any]) -> None:
        order = next(each for each in self.model.orders if each.url == url)
        assert shown["status"] == order.status(self.model.now)
        assert [each["value"] for each in shown["identifiers"]] == list(order.names)
        assert shown["authorizations"] == [each.url for each in order.authorizations]
        assert ("certificate" in shown) == (shown["status"] == "valid")
        assert at(shown["expires"]) == order.expires

    def compare_authorization(self, url: str, shown: dict[str, Any]) -> None:
        authorization = self.model.authorizations[url]
        assert shown["status"] == authorization.status(self.model.now)
        assert at(shown["expires"]) == authorization.expires
        assert {each["type"]: each["status"] for each in shown["challenges"]} == authorization.shown(
            self.model.now
        )

    # --- helpers ----------------------------------------------------------------------------------------

    @property
    def client(self) -> AcmeClient:
        return self.front.client(KEYS["k1"])

    def post(
        self, who: Account | str, url: str, payload: Any, expected: Expected, *, signer: str = ""
    ) -> Answer:
        """Signed by an account, or by a key that stands for itself; the answer is what was expected."""
        self.pass_time(1)
        key = signer or (who if isinstance(who, str) else who.key)
        client = self.front.client(KEYS[key])
        client.kid = None if isinstance(who, str) else who.url
        octets = b"" if payload is None else json.dumps(payload).encode()

        async def send() -> tuple[dict[str, Any], Answer]:
            message = sign(client.key, await client.protected(url), octets)
            return message, await client.send(url, message)

        message, answer = self.runner.run(send())
        if answer.status != 404:  # else nobody looked at its nonce
            self.sent = (url, message)
        self.check(answer, expected)
        return answer

    def check(self, answer: Answer, expected: Expected) -> None:
        got = Expected(answer.status, answer.problem)
        assert got == expected, answer.octets
        nonce = answer.headers["Replay-Nonce"]
        assert nonce not in self.nonces
        self.nonces.add(nonce)

    def revoke(self, who: Account | str, certificate: Certificate, reason: int, expected: Expected) -> None:
        row = self.front.database.reader.one(
            "SELECT certificate FROM certificates WHERE request_id = ?",
            (certificate.order.url.rpartition("/")[2],),
        )
        assert row is not None
        payload = {"certificate": b64(row["certificate"]), "reason": reason}
        self.post(who, "/acme/revoke-cert", payload, expected)

    def authorization(self, account: Account, url: str) -> Authorization:
        """A known one, or what a new one shows."""
        known = self.model.authorizations.get(url)
        if known is not None:
            return known
        shown = self.post(account, url, None, Expected(200)).body
        star = "*." if shown.get("wildcard") else ""
        challenges = {each["type"]: Challenge(each["status"]) for each in shown["challenges"]}
        assert shown["status"] == "pending"
        assert list(challenges) == (["dns-01"] if star else ["http-01", "dns-01"])
        name = star + shown["identifier"]["value"]
        return Authorization(account, name, url, at(shown["expires"]), challenges)

    def challenge_url(self, authorization: Authorization, kind: str) -> str:
        reader, urls = self.front.database.reader, self.front.context.urls
        found = authorizations.challenges_of(reader, authorization.url.rpartition("/")[2])
        return urls.challenge(next(each.id for each in found if each.type == kind))

    def certificate_url(self, order: Order) -> str:
        found = orders.by_id(self.front.database.reader, order.url.rpartition("/")[2])
        assert found is not None
        assert found.certificate_id is not None
        return self.front.context.urls.certificate(found.certificate_id)

    def pass_time(self, seconds: int) -> None:
        self.front.clock.at += seconds
        self.model.now += seconds


def at(timestamp: str) -> int:
    """POSIX seconds."""
    return int(datetime.fromisoformat(timestamp).timestamp())


def effort(examples: int, steps: int, *, derandomize: bool) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=derandomize,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.1.3.immutable", "rfc8555.7.1.6.account", "rfc8555.7.1.6.authorization")
@pytest.mark.must("rfc8555.7.1.6.challenge", "rfc8555.7.1.6.order", "rfc8555.7.1.2.1.object")
class TestManyAccounts(Subscribers.TestCase):  # type: ignore[name-defined,misc]
    settings = effort(24, 100, derandomize=True)


@pytest.mark.long
@pytest.mark.clause("RFC 8555 section 7.1.6")
class TestManyAccountsLong(Subscribers.TestCase):  # type: ignore[name-defined,misc]
    settings = effort(40, 200, derandomize=False)
