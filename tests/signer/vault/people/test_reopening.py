"""A lost token comes back by itself where its PIN lies in a file, and its PIN is tried once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from core.data_directory import DataDirectory
from core.errors import CaError, TransientError
from signer.client import Vault
from signer.vault.people.lock import Lock
from signer.vault.people.reopening import Reopening
from signer.vault.tokens.cryptoki import PinRefused
from tests.signer.vault.server.requests import request, sequence
from tests.support.vault import RunningVault


class Played(Lock):
    """A lock that opens after some failures."""

    def __init__(self, *failures: CaError) -> None:
        self.failures = list(failures)
        self.tried: list[bytes] = []
        self.told: list[str] = []
        self.settled = asyncio.Event()

    async def close(self, why: str) -> None:
        self.told.append(why)

    async def open(self, pin: bytearray) -> None:
        self.tried.append(bytes(pin))
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, PinRefused):
                self.settled.set()
            raise failure
        self.settled.set()


def at_once() -> Iterator[float]:
    return iter([0.0] * 10)


async def test_a_lost_token_is_closed_and_tried_until_it_is_back() -> None:
    lock = Played(TransientError("away"), TransientError("away"))
    reopening = Reopening(lock, lambda: "1234", at_once)
    reopening.lost()
    reopening.lost()  # every failing signature says so
    await asyncio.wait_for(lock.settled.wait(), 10)
    await reopening.close()
    assert lock.tried == [b"1234"] * 3
    assert lock.told == ["the token was lost: the vault opens it again as soon as it is back"]


async def test_a_refused_pin_is_not_tried_again() -> None:
    lock = Played(PinRefused("wrong"), TransientError("never reached"))
    reopening = Reopening(lock, lambda: "1234", at_once)
    reopening.lost()
    await asyncio.wait_for(lock.settled.wait(), 10)
    assert reopening._task is not None
    await reopening._task
    assert lock.tried == [b"1234"]


async def test_a_stopping_vault_tries_no_more() -> None:
    lock = Played(*[TransientError("away")] * 100)
    reopening = Reopening(lock, lambda: "1234", lambda: iter([0.0, 3600.0]))
    reopening.lost()
    while not lock.tried:
        await asyncio.sleep(0)
    await reopening.close()
    assert len(lock.tried) == 1


@pytest.mark.long
async def test_a_running_vault_whose_token_is_taken_away_signs_again_when_it_is_back(
    data: DataDirectory,
) -> None:
    running = RunningVault(data).start()
    vault = Vault(data.vault_socket)
    try:
        await vault.issue((await vault.prepare(request())).token)
        tokens, away = data.tokens / "issuing", data.tokens / "away"
        tokens.rename(away)
        lost = await vault.prepare(request())
        before = await sequence(vault)
        with pytest.raises(TransientError, match="was here and is gone"):
            await vault.issue(lost.token)
        assert [entry.kind for entry in (await vault.journal(before)).entries] == ["intent"]
        # From now on nothing is begun: no serial number is lost while the token is away.
        with pytest.raises(TransientError):
            await vault.issue((await vault.prepare(request())).token)
        assert await sequence(vault) == before + 1
        away.rename(tokens)
        await asyncio.wait_for(_issued(vault), 30)
    finally:
        await vault.close()
        running.stop()


async def _issued(vault: Vault) -> None:
    while True:
        try:
            await vault.issue((await vault.prepare(request())).token)
        except TransientError:
            await asyncio.sleep(0.1)  # as a job does, which has no way to hear of it
        else:
            return
