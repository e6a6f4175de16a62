"""Faults of a token: told with their remedy, mended where that is safe, never half a signature.

The token is real; what cannot be had of a soft token (removal, hanging) is played by a key's handle.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import exceptions

from core.settings import Settings
from signer.vault.tokens import algorithms
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.faults import Fault, TokenTrouble
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.modules import softhsm
from signer.vault.tokens.token import TokenThreads

PIN = "correct horse"
LABEL = KeyAlgorithm.EC_P256


@dataclass
class Token:
    """A token in `directory` with one key, closed."""

    directory: Path
    serial: str
    key: Key
    cryptoki: Cryptoki

    def threads(self, **arguments: Any) -> TokenThreads:
        return TokenThreads(self.cryptoki, self.serial, PIN, 1, **arguments)

    def reopened(self) -> TokenThreads:
        """On the module initialised anew, after the first threads were closed."""
        return TokenThreads(Cryptoki(self.cryptoki.module), self.serial, PIN, 1)


@pytest.fixture
def token(tmp_path: Path) -> Iterator[Token]:
    module = softhsm(Path(Settings().vault.module), tmp_path / "tokens", tmp_path / "conf")
    cryptoki = Cryptoki(module)
    serial = cryptoki.make_token("faulty", "so pin of the test", PIN)
    threads = TokenThreads(cryptoki, serial, PIN, 1)
    key = threads.keeper.generate(LABEL, LABEL)
    threads.close()
    again = Cryptoki(module)
    yield Token(tmp_path / "tokens", serial, key, again)
    again.close()


@dataclass
class Handle:
    """A key's handle that fails a few times, at the edge of python-pkcs11."""

    fail: Callable[[], None]

    def __getitem__(self, attribute: object) -> object:
        raise NotImplementedError

    def sign(self, data: bytes, mechanism: object) -> bytes:
        self.fail()
        raise AssertionError("unreachable")


def raising(error: type[Exception]) -> Handle:
    def fail() -> None:
        raise error

    return Handle(fail)


async def signs(threads: TokenThreads, key: Key) -> None:
    algorithms.verify(key.public_key, await threads.sign(key, b"octets"), b"octets")


@pytest.mark.parametrize(
    "error", [exceptions.KeyHandleInvalid, pkcs11.SessionHandleInvalid, exceptions.SessionClosed]
)
async def test_a_lost_handle_or_session_costs_no_signature(token: Token, error: type[Exception]) -> None:
    threads = token.threads()
    threads._sessions[0]._handles[LABEL] = raising(error)
    await signs(threads, token.key)
    threads.close()


@pytest.mark.parametrize(
    ("error", "fault", "remedy"),
    [
        (exceptions.DeviceRemoved, Fault.TOKEN, "plug it in again"),
        (exceptions.TokenNotPresent, Fault.TOKEN, "plug it in again"),
        (exceptions.DeviceError, Fault.UNKNOWN, "look at the token's own log"),
        (exceptions.FunctionFailed, Fault.UNKNOWN, "the next signature tries from the beginning"),
    ],
)
async def test_another_fault_is_told_and_the_next_signature_begins_anew(
    token: Token, error: type[Exception], fault: Fault, remedy: str
) -> None:
    threads = token.threads()
    threads._sessions[0]._handles[LABEL] = raising(error)
    with pytest.raises(TokenTrouble, match=remedy) as told:
        await threads.sign(token.key, b"octets")
    assert told.value.fault is fault
    assert error.__name__ in str(told.value)
    await signs(threads, token.key)
    threads.close()


async def test_a_lost_login_is_told_and_the_token_opened_anew_signs_again(token: Token) -> None:
    threads = token.threads()
    await signs(threads, token.key)
    threads.keeper.raw.close()  # C_Logout: it logs out every session of the process
    with pytest.raises(TokenTrouble, match="activate the token again") as told:
        await threads.sign(token.key, b"octets")
    assert told.value.fault is Fault.LOGIN
    threads.close()
    reopened = token.reopened()
    await signs(reopened, token.key)
    reopened.close()


async def test_a_token_that_was_taken_away_is_told_as_that(token: Token) -> None:
    threads = token.threads()
    await signs(threads, token.key)
    away = token.directory.with_name("away")
    token.directory.rename(away)
    with pytest.raises(TokenTrouble, match="was here and is gone") as told:
        await threads.sign(token.key, b"octets")
    assert told.value.fault is Fault.TOKEN
    away.rename(token.directory)
    threads.close()
    reopened = token.reopened()
    await signs(reopened, token.key)
    reopened.close()


async def test_a_hanging_token_is_given_up_and_used_again_when_it_answers(token: Token) -> None:
    threads = token.threads(timeout=0.05)
    answer = threading.Event()

    def hang() -> None:
        answer.wait(30)
        raise exceptions.FunctionCancelled

    threads._sessions[0]._handles[LABEL] = Handle(hang)
    first, queued = (asyncio.create_task(threads.sign(token.key, b"octets")) for _ in range(2))
    for waiting in (first, queued):
        with pytest.raises(TokenTrouble, match=r"has not answered for 0\.05 s"):
            await waiting
    with pytest.raises(TokenTrouble, match=r"raise vault\.token_timeout"):
        threads.must_answer()
    threads._timeout = 30  # what it does from now on, it does in the time that a busy machine takes
    answer.set()
    await signs(threads, token.key)
    threads.must_answer()
    threads.close()


async def test_a_signature_that_takes_its_time_is_not_given_up_before_its_time(token: Token) -> None:
    threads = token.threads(timeout=30)
    await asyncio.gather(*(signs(threads, token.key) for _ in range(20)))
    threads.must_answer()
    threads.close()
