"""The state tables driven at random through the real handlers, database and jobs (RFC 8555 section 7.1.6)."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from acme_server.states import AUTHORIZATION, CHALLENGE, MACHINES, ORDER, Machine
from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import Front, running

NAMES = st.lists(
    st.sampled_from(["a.example.com", "b.example.com", "*.example.com"]), min_size=1, max_size=2, unique=True
)
KEY = ec_key()


def reachable(machine: Machine[Any]) -> set[tuple[str, str]]:
    """Every (state, later state) that the table allows in any number of moves."""
    pairs = {(state, after) for (state, _), after in machine.moves.items()}
    pairs |= {(state, state) for state in type(machine.initial)}
    while True:
        wider = pairs | {(a, d) for a, b in pairs for c, d in pairs if b == c}
        if wider == pairs:
            return pairs
        pairs = wider


REACHABLE = {machine.name: reachable(machine) for machine in MACHINES}


class Subscriber(RuleBasedStateMachine):
    """Does what it likes in any order; what it sees must always be what the tables allow."""

    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.closing = AsyncExitStack()
        self.seen: dict[str, str] = {}
        self.placed: list[Any] = []
        self.front: Front
        self.client: AcmeClient

    @initialize()
    def open(self) -> None:
        directory = self.closing.enter_context(tempfile.TemporaryDirectory())

        async def start() -> None:
            self.front = await self.closing.enter_async_context(running(Path(directory)))
            self.client = await self.front.subscriber()

        self.runner.run(start())

    def teardown(self) -> None:
        self.runner.run(self.closing.aclose())
        self.runner.close()

    @rule(target=orders, names=NAMES)
    def place(self, names: list[str]) -> Any:
        answer = self.runner.run(self.client.order(*names))
        assert answer.status == 201
        self.placed.append(answer)
        return answer

    @rule(order=orders, which=st.integers(0, 1), method=st.integers(0, 1))
    def answer_challenge(self, order: Any, which: int, method: int) -> None:
        urls = order.body["authorizations"]

        async def act() -> int:
            challenges = (await self.client.post(urls[which % len(urls)])).body["challenges"]
            return (await self.client.post(challenges[method % len(challenges)]["url"], {})).status

        assert self.runner.run(act()) in (200, 400)

    @rule(order=orders, which=st.integers(0, 1))
    def give_up(self, order: Any, which: int) -> None:
        urls = order.body["authorizations"]
        payload = {"status": "deactivated"}
        assert self.runner.run(self.client.post(urls[which % len(urls)], payload)).status in (200, 400)

    @rule(order=orders)
    def finalize(self, order: Any) -> None:
        names = [each["value"] for each in order.body["identifiers"]]
        before = self._status(order)
        answer = self.runner.run(self.client.post(order.body["finalize"], {"csr": b64(csr(KEY, names))}))
        assert answer.status == (200 if before == "ready" else 403)

    @rule(verdict=st.sampled_from(["pass", "pass", "fail", "undecided"]))
    def work(self, verdict: str) -> None:
        names = {"a.example.com", "b.example.com", "*.example.com"}
        self.front.perspectives.pass_names = names if verdict == "pass" else set()
        self.front.perspectives.undecided = names if verdict == "undecided" else set()
        self.runner.run(self.front.run_jobs())

    @rule(days=st.sampled_from([0, 1, 3]))
    def wait(self, days: int) -> None:
        self.front.clock.at += days * 86400 + 1

    @invariant()
    def what_is_seen_is_what_the_tables_allow(self) -> None:
        for order in self.placed:
            shown = self.runner.run(self.client.post(order.headers["Location"])).body
            authorizations = [
                self.runner.run(self.client.post(url)).body for url in order.body["authorizations"]
            ]
            self._follow(ORDER, order.headers["Location"], shown["status"])
            for url, authorization in zip(order.body["authorizations"], authorizations, strict=True):
                self._follow(AUTHORIZATION, url, authorization["status"])
                for challenge in authorization["challenges"]:
                    self._follow(CHALLENGE, challenge["url"], challenge["status"])
            assert shown["identifiers"] == order.body["identifiers"]
            assert shown["authorizations"] == order.body["authorizations"]
            if shown["status"] == "ready":
                assert {each["status"] for each in authorizations} == {"valid"}
            assert ("certificate" in shown) == (shown["status"] == "valid")

    @invariant()
    def no_order_has_two_certificates(self) -> None:
        if self.placed:
            approved = [each.request_id for each in self.front.issuance.approved]
            assert len(approved) == len(set(approved))

    def _status(self, order: Any) -> str:
        return str(self.runner.run(self.client.post(order.headers["Location"])).body["status"])

    def _follow(self, machine: Machine[Any], url: str, status: str) -> None:
        before = self.seen.get(url, machine.initial)
        assert (before, status) in REACHABLE[machine.name], f"{machine.name}: {before} -> {status}"
        self.seen[url] = status


def effort(examples: int, steps: int, *, derandomize: bool = True) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=derandomize,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.clause("RFC 8555 section 7.1.6")
@pytest.mark.must("rfc8555.7.1.3.immutable", "rfc8555.7.1.6.order")
class TestTables(Subscriber.TestCase):  # type: ignore[name-defined,misc]
    settings = effort(12, 15)


@pytest.mark.long
@pytest.mark.clause("RFC 8555 section 7.1.6")
class TestTablesLong(Subscriber.TestCase):  # type: ignore[name-defined,misc]
    settings = effort(150, 40, derandomize=False)
