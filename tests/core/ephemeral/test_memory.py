from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from core.ephemeral.memory import MemoryNonces
from core.randomness import SystemRandomness


def nonces(**limits: int) -> MemoryNonces:
    return MemoryNonces(SystemRandomness(), "app", **limits)


class EachNonceOnce(RuleBasedStateMachine):
    """Whatever the order of issuing and consuming, each nonce is accepted exactly once."""

    fresh = Bundle("fresh")
    used = Bundle("used")

    def __init__(self) -> None:
        super().__init__()
        self.nonces = nonces(chunk_bits=4, max_chunks=1000)
        self.seen: set[str] = set()

    @rule(target=fresh)
    def issue(self) -> str:
        nonce = asyncio.run(self.nonces.issue())
        assert nonce not in self.seen
        self.seen.add(nonce)
        return nonce

    @rule(target=used, nonce=consumes(fresh))
    def a_fresh_nonce_is_never_refused(self, nonce: str) -> str:
        assert asyncio.run(self.nonces.consume(nonce))
        return nonce

    @rule(nonce=used)
    def a_used_nonce_is_always_refused(self, nonce: str) -> None:
        assert not asyncio.run(self.nonces.consume(nonce))


EachNonceOnce.TestCase.settings = settings(max_examples=30, stateful_step_count=100)
TestEachNonceOnce = pytest.mark.clause("RFC 8555 section 6.5")(EachNonceOnce.TestCase)


@given(st.text())
async def test_a_string_that_is_no_nonce_is_refused(text: str) -> None:
    assert not await nonces().consume(text)


@pytest.mark.clause("RFC 8555 section 6.5")
@pytest.mark.must("rfc8555.6.5.1.unpredictable")
async def test_a_nonce_with_any_bit_changed_is_refused() -> None:
    ours = nonces()
    nonce = await ours.issue()
    octets = base64.urlsafe_b64decode(nonce + "==")
    for bit in range(len(octets) * 8):
        forged = bytearray(octets)
        forged[bit >> 3] ^= 1 << (bit & 7)
        assert not await ours.consume(base64.urlsafe_b64encode(forged).rstrip(b"=").decode())
    assert await ours.consume(nonce)


async def test_another_spelling_of_the_same_octets_is_not_a_second_nonce() -> None:
    ours = nonces()
    nonce = await ours.issue()
    octets = base64.urlsafe_b64decode(nonce + "==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = {nonce[:-1] + last for last in alphabet}
    same = {each for each in spellings if base64.urlsafe_b64decode(each + "==") == octets}
    assert len(same) > 1
    assert [await ours.consume(each) for each in sorted(same)].count(True) == 1


async def test_the_nonce_of_another_process_or_of_before_a_restart_is_refused() -> None:
    assert not await nonces().consume(await nonces().issue())
    other = MemoryNonces(SystemRandomness(), "other")
    assert not await nonces().consume(await other.issue())


@pytest.mark.must("rfc8555.6.5.1.base64url")
async def test_a_nonce_is_base64url_without_padding() -> None:
    nonce = await nonces().issue()
    assert len(nonce) == 38
    assert set(nonce) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


async def test_memory_is_bounded_and_only_the_oldest_nonces_go() -> None:
    ours = nonces(chunk_bits=8, max_chunks=4)
    issued = [await ours.issue() for _ in range(100)]
    accepted = [await ours.consume(nonce) for nonce in issued]
    assert accepted.index(True) == 72  # four chunks of eight, the newest one half full
    assert all(accepted[72:])
    assert len(ours._used) == 4
