"""What lies ready is what would be said anew, whatever happens; and never "good" after a revocation."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import revocations
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Reader
from core.errors import TransientError
from core.issuers import Issuer, put_issuer
from core.reader import Row
from core.settings import Settings
from tests.support.database import NOW, opened
from tests.support.revoking import revoke_if_it_can_be
from tests.support.served import Served
from tests.support.software_vault import DAY, SoftwareVault

T = TypeVar("T")

Act = tuple[str, int]
WHICH = st.integers(0, 3)
ACTS = st.lists(
    st.one_of(
        *(st.tuples(st.just("ask"), WHICH) for _ in range(4)),
        st.tuples(st.just("issue"), st.just(0)),
        st.tuples(st.just("revoke"), WHICH),
        st.tuples(st.just("compromise"), WHICH),
        st.tuples(st.just("forget"), st.just(0)),  # the register is an older one, in the same place
        st.tuples(st.just("keep"), st.just(0)),  # the keeper signs ahead
        st.tuples(st.just("wait"), st.sampled_from([1, 30, 3600, DAY, DAY // 4, 4 * DAY - 1])),
        st.tuples(st.just("step back"), st.sampled_from([1, 2, 3600])),
        st.tuples(st.just("unreadable"), st.integers(1, 4)),  # from which look on
        st.tuples(st.just("unreadable once"), st.integers(1, 4)),
        st.tuples(st.just("readable"), st.just(0)),
        st.tuples(st.just("vault"), st.just(0)),  # it goes, or comes back
    ),
    min_size=5,
    max_size=30,
)


class Moody(Reader):
    """A reader that cannot read from the next look number `fails_at` on, or at that one alone (`once`)."""

    fails_at = 0
    once = False

    def one(self, sql: str, parameters: Any = ()) -> Row | None:
        return self._ask(lambda: super(Moody, self).one(sql, parameters))

    def all(self, sql: str, parameters: Any = ()) -> list[Row]:
        return self._ask(lambda: super(Moody, self).all(sql, parameters))

    def _ask(self, query: Callable[[], T]) -> T:
        if self.fails_at > 1:
            self.fails_at -= 1
        elif self.fails_at == 1:
            self.fails_at = 0 if self.once else 1
            raise TransientError("ca.sqlite cannot be read now")
        return query()


@pytest.fixture(scope="module")
def vault() -> SoftwareVault:
    """One for all examples: its keys are most of what an example costs."""
    return SoftwareVault(NOW + 365 * DAY)


@pytest.mark.clause("BR 4.9.5")
@given(acts=ACTS)
@settings(max_examples=15, deadline=None)
def test_what_is_ready_is_what_would_be_said_anew(
    house_class: Any, keeper_class: Any, vault: SoftwareVault, acts: list[Act]
) -> None:
    vault.away = False
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_play(house_class, keeper_class, vault, Path(directory), acts))


async def _play(
    house_class: Any, keeper_class: Any, vault: SoftwareVault, directory: Path, acts: list[Act]
) -> None:
    clock, data = FakeClock(NOW), DataDirectory(directory)
    data.repository.mkdir()
    async with opened(directory, clock) as database:
        for info in vault.description().issuers:
            issuer = Issuer(info.id, str(info.use), info.algorithm, info.certificate, b"", 1)
            await database.write(lambda tx, issuer=issuer: put_issuer(tx, issuer))  # type: ignore[misc]
        reader = Moody(data.database)
        house = house_class(data, clock, database, vault, replace(Settings()), reader)
        keeper = keeper_class(house)
        fast, anew = Served(house), Served(house)
        serials = [await house.issue()]
        await keeper.work()
        try:
            for kind, argument in acts:
                serial = serials[argument % len(serials)]
                if kind == "issue":
                    if len(serials) < 4 and clock.at >= clock.latest() - 1:
                        serials.append(await house.issue())
                elif kind == "ask":
                    await _compare(fast, anew, reader, serial)
                else:
                    await _act(house, keeper, reader, kind, argument, serial)
                    await _compare(fast, anew, reader, serial)
        finally:
            keeper.stop()
            reader.close()


async def _act(house: Any, keeper: Any, reader: Moody, kind: str, argument: int, serial: bytes) -> None:
    behind = house.clock.at < house.clock.latest() - 1
    if kind in ("revoke", "compromise") and not behind:
        await revoke_if_it_can_be(house, serial, kind)
    elif kind == "forget" and not behind:
        newest = "(SELECT MAX(version) FROM revocations)"
        await house.database.write(lambda tx: tx.execute(f"DELETE FROM revocations WHERE version = {newest}"))
    elif kind == "keep" and not behind and not house.vault.away:
        await keeper.work()
    elif kind == "wait":
        house.clock.at += argument
    elif kind == "step back":
        house.clock.at -= argument
    elif kind.startswith("unreadable"):
        reader.fails_at, reader.once = argument, kind.endswith("once")
    elif kind == "readable":
        reader.fails_at = 0
    elif kind == "vault":
        house.vault.away = not house.vault.away


async def _compare(fast: Served, anew: Served, reader: Moody, serial: bytes) -> None:
    """Ask both, the fast one with what it has ready."""
    moody = reader.fails_at
    first = await fast.raw(serial)
    if moody and reader.once:  # one of them may meet the failing look alone
        reader.fails_at = 0
        return
    anew.front.ready.clear()
    assert first == await anew.raw(serial)
    if not moody and revocations.of(reader, serial) is not None:
        assert await fast.word(serial) in ("REVOKED", "TRY_LATER")
