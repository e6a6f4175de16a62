"""What holds for nonces in either home."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    multiple,
    rule,
    run_state_machine_as_test,
)

from core.ephemeral import Nonces
from tests.core.ephemeral.conftest import Home


class EachNonceOnce(RuleBasedStateMachine):
    """Whatever the order of issuing and consuming, each nonce is accepted exactly once."""

    fresh = Bundle("fresh")
    used = Bundle("used")

    def __init__(self, make_home: Callable[[], Home]) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.home = make_home()
        self.nonces = self.home.nonces()
        self.seen: set[str] = set()

    @rule(target=fresh, count=st.integers(1, 20))
    def issue(self, count: int) -> object:
        async def some() -> list[str]:
            return [await self.nonces.issue() for _ in range(count)]

        issued = self.run(some())
        assert len({*issued} - self.seen) == count
        self.seen.update(issued)
        return multiple(*issued)

    @rule(target=used, nonce=consumes(fresh))
    def a_fresh_nonce_is_never_refused(self, nonce: str) -> str:
        assert self.run(self.nonces.consume(nonce))
        return nonce

    @rule(nonce=used)
    def a_used_nonce_is_always_refused(self, nonce: str) -> None:
        assert not self.run(self.nonces.consume(nonce))

    def teardown(self) -> None:
        self.run(self.home.close())
        self.runner.close()


@pytest.mark.clause("RFC 8555 section 6.5")
def test_each_nonce_is_good_exactly_once_whatever_the_order(make_home: Callable[[], Home]) -> None:
    run_state_machine_as_test(
        lambda: EachNonceOnce(make_home),
        settings=settings(max_examples=25, stateful_step_count=60, deadline=None),
    )


@pytest.mark.clause("RFC 8555 section 6.4")
async def test_of_many_who_use_a_nonce_at_the_same_time_one_succeeds(nonces: Nonces) -> None:
    issued = [await nonces.issue() for _ in range(50)]
    answers = await asyncio.gather(*(nonces.consume(nonce) for nonce in issued * 20))
    assert sum(answers) == 50
    assert all(any(answers[index::50]) for index in range(50))


@given(text=st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_a_string_that_is_no_nonce_is_refused(nonces: Nonces, text: str) -> None:
    assert not await nonces.consume(text)


@pytest.mark.clause("RFC 8555 section 6.5")
@pytest.mark.must("rfc8555.6.5.1.unpredictable")
async def test_a_nonce_with_any_bit_changed_is_refused(nonces: Nonces) -> None:
    nonce = await nonces.issue()
    octets = base64.urlsafe_b64decode(nonce + "==")
    for bit in range(len(octets) * 8):
        forged = bytearray(octets)
        forged[bit >> 3] ^= 1 << (bit & 7)
        assert not await nonces.consume(base64.urlsafe_b64encode(forged).rstrip(b"=").decode())
    assert await nonces.consume(nonce)


async def test_another_spelling_of_the_same_octets_is_not_a_second_nonce(nonces: Nonces) -> None:
    nonce = await nonces.issue()
    octets = base64.urlsafe_b64decode(nonce + "==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = {nonce[:-1] + last for last in alphabet}
    same = {each for each in spellings if base64.urlsafe_b64decode(each + "==") == octets}
    assert len(same) > 1
    assert [await nonces.consume(each) for each in sorted(same)].count(True) == 1


@pytest.mark.clause("RFC 8555 section 6.5.1")
@pytest.mark.must("rfc8555.6.5.1.base64url")
async def test_a_nonce_is_base64url_without_padding(nonces: Nonces) -> None:
    nonce = await nonces.issue()
    assert set(nonce) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


async def test_a_nonce_of_another_home_is_refused(make_home: Callable[[], Home], nonces: Nonces) -> None:
    other = make_home()
    assert not await nonces.consume(await other.nonces().issue())
    await other.close()
