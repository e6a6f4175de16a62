"""Who came to the vault and when: ten minutes, then a share is forgotten; a failed opening begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.clock import FakeClock
from core.errors import ConfigurationError, Refused
from core.randomness import SystemRandomness
from signer import consent
from signer.api import ActivationState, ConsentRequest, HaltRequest, Nothing
from signer.vault.people import shares
from signer.vault.people.activation import PATIENCE, Activation, Gathering
from signer.vault.people.lock import Lock
from signer.vault.record.journal import Journal
from signer.vault.sealed.seal import SealedActivation
from tests.support.people import Crew, crew

NOW = 1_795_392_000
TOKEN = "0123456789abcdef"
SECRET = bytes(range(16))


class OneLock(Lock):
    """Opens with the right PIN, of which it remembers the buffer."""

    def __init__(self) -> None:
        self.opened = False
        self.fails = False
        self.pins: list[bytearray] = []
        self.tried: list[bytes] = []

    @property
    def is_open(self) -> bool:
        return self.opened

    async def open(self, pin: bytearray) -> None:
        self.tried.append(bytes(pin))
        self.pins.append(pin)
        shares.wipe(pin)
        if self.fails:
            raise ConfigurationError("the token is not there")
        self.opened = True

    async def close(self, why: str) -> None:
        self.opened = False


@dataclass
class World:
    clock: FakeClock
    lock: OneLock
    journal: Journal
    activation: Activation
    crew: Crew

    async def state(self) -> ActivationState:
        return await self.activation.state(Nothing())

    async def come(self, *numbers: int) -> ActivationState:
        for number in numbers:
            found = await self.activation.activate(self.crew.request(number, await self.state()))
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    people = crew(3)
    holders = tuple(each.person for each in people)
    made = shares.split(SECRET, 2, holders, TOKEN)
    clock, lock = FakeClock(NOW), OneLock()
    journal = Journal(tmp_path / "journal", clock)
    sealed = SealedActivation(2, made.check, holders)
    activation = Activation(sealed, TOKEN, lock, journal, clock, SystemRandomness())
    yield World(clock, lock, journal, activation, Crew(people, made.shares))
    journal.close()


@pytest.mark.clause("CPS 6.4.2")
def test_what_somebody_brought_is_overwritten_when_they_are_forgotten() -> None:
    clock = FakeClock(NOW)
    gathering = Gathering(clock)
    first, second = (each.person for each in crew(2))
    shares_here = [bytearray(b"share of one"), bytearray(b"share of two")]
    gathering.come(first, 1, shares_here[0])
    clock.at += PATIENCE - 1
    gathering.come(second, 2, shares_here[1])
    assert gathering.people == (first, second)
    clock.at += 1
    assert gathering.people == (second,)
    assert shares_here == [bytearray(12), bytearray(b"share of two")]
    gathering.forget()
    assert gathering.people == ()
    assert shares_here == [bytearray(12), bytearray(12)]


async def test_who_comes_more_than_ten_minutes_after_the_first_finds_nobody(world: World) -> None:
    await world.come(0)
    world.clock.at += PATIENCE
    state = await world.come(1)
    assert (state.locked, state.activating) == (True, ("Beni",))
    assert world.lock.tried == []
    assert not (await world.come(0)).locked
    assert world.lock.tried == [SECRET.hex().encode()]


async def test_the_pin_is_overwritten_after_the_opening(world: World) -> None:
    await world.come(0, 2)
    assert world.lock.pins == [bytearray(32)]


async def test_a_failed_opening_is_told_forgets_all_and_can_be_tried_again(world: World) -> None:
    world.lock.fails = True
    before = await world.state()
    with pytest.raises(ConfigurationError, match="not there"):
        await world.come(0, 1)
    after = await world.state()
    assert (after.locked, after.activating) == (True, ())
    assert after.session_key != before.session_key
    assert world.journal.sequence == 0
    world.lock.fails = False
    assert not (await world.come(0, 1)).locked
    assert [entry.kind for entry in world.journal.page(0, 9)] == ["activate"]


async def test_a_lost_login_locks_the_vault_so_that_people_can_open_it_again(world: World) -> None:
    await world.come(0, 1)
    world.activation.login_lost()
    world.activation.login_lost()
    async with asyncio.timeout(5):
        while not (await world.state()).locked:
            await asyncio.sleep(0)
    assert not (await world.come(2, 1)).locked


async def test_a_consent_is_forgotten_after_ten_minutes_too(world: World) -> None:
    await world.come(0, 1)
    state = await world.state()

    def agree(number: int) -> ConsentRequest:
        return consent.consent(world.crew.people[number], consent.DEACTIVATE, "tester", state)

    await world.activation.deactivate(agree(0))
    world.clock.at += PATIENCE
    assert not (await world.activation.deactivate(agree(1))).locked
    assert (await world.activation.deactivate(agree(2))).locked


async def test_since_when_it_is_locked_is_the_last_that_is_known_of_it_open(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    journal = Journal(tmp_path / "journal", clock)
    sealed = SealedActivation(2, b"", ())
    first = Activation(sealed, TOKEN, OneLock(), journal, clock, SystemRandomness())
    await first.halt(HaltRequest("tester", "an entry"))
    journal.close()
    clock.at += 5000
    journal = Journal(tmp_path / "journal", clock)
    second = Activation(sealed, TOKEN, OneLock(), journal, clock, SystemRandomness())
    state = await second.state(Nothing())
    assert (state.since, state.halted) == (NOW, "tester: an entry")
    journal.close()


async def test_a_halt_without_a_reason_or_with_an_essay_changes_nothing(world: World) -> None:
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(Refused, match=r"halt\.reason"):
            await world.activation.halt(HaltRequest("tester", reason))
    assert world.journal.sequence == 0
    assert (await world.state()).halted == ""
