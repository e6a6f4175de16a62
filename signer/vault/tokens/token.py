"""Threads with a session each on one token: signatures without waiting, faults told, sessions opened again.

Signing threads are fed by one queue.  A session that was lost is opened again by its own thread (session.py);
a lost login or token ends with the whole token opened anew (reopening.py, or people who activate it).  A
signature that takes too long is given up: its caller hears so, and nothing is begun while all threads hang.

Must never: keep a PIN; hand out a signature that came after its caller was told that there is none.

PKCS#11 v2.40 section 5.6 (sessions, login); faults: faults.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import pkcs11
from pkcs11.exceptions import PKCS11Error

from core.errors import ConfigurationError, HaltIssuance, TransientError
from signer.vault.tokens import algorithms
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.faults import Fault, TokenTrouble, fault_of, trouble
from signer.vault.tokens.keys import Key
from signer.vault.tokens.message import Data
from signer.vault.tokens.modules import Module
from signer.vault.tokens.session import Session

T = TypeVar("T")

TIMEOUT = 10
"""Seconds for one signature (vault.token_timeout): a network HSM needs 0.1 s for one of RSA-4096."""

_SELF_TEST_SIGNATURES = 3
"""Per key and thread: the fault that the self-test looks for showed within the first few calls."""


@dataclass(slots=True, eq=False)
class _Item:
    """What a thread is to do, and who hears of it."""

    work: Callable[[Session], Any]
    finish: Callable[[Any, BaseException | None], None]


class TokenThreads:
    """Threads with a session each, fed by one queue.

    Finished work is handed back to the event loop in batches: while the loop has not yet come to collect,
    further results join the ones that wait, so that many signatures cost one wake-up.
    """

    _hanging = False

    def __init__(
        self,
        cryptoki: Cryptoki,
        serial: str,
        pin: str | bytearray,
        threads: int,
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        self._cryptoki = cryptoki
        self._serial = serial
        self._timeout = timeout
        self._renewing = threading.Lock()
        self._work: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._finished: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._collecting = threading.Lock()
        self._collect_due = False
        self._current: list[_Item | None] = [None] * threads
        self._seen: list[_Item | None] = [None] * threads
        self._watched_by: asyncio.AbstractEventLoop | None = None
        _must_bear(cryptoki.module, threads)
        # The session that logged in stays open: closing the last one would log the process out.
        self._login = Session(
            cryptoki.open(serial, pin, read_write=True), cryptoki, lambda: self._renewed(read_write=True)
        )
        self._sessions = [Session(cryptoki.join(serial), cryptoki, self._renewed) for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(number, session), name=f"token-{number}", daemon=True)
            for number, session in enumerate(self._sessions)
        ]
        for thread in self._threads:
            thread.start()

    def self_test(self, tested: Iterable[Key]) -> None:
        """Every thread signs with every key at the same moment, and every signature is verified.

        Raises `HaltIssuance`: the vault does not start.
        """
        listed = list(tested)
        together = threading.Barrier(len(self._threads))

        def test(session: Session) -> None:
            together.wait(timeout=30)
            for number in range(_SELF_TEST_SIGNATURES):
                for key in listed:
                    data = b"acme-server self-test %d" % number
                    algorithms.verify(key.public_key, session.sign(key, data), data)

        for future in [self._submit(test) for _ in self._threads]:
            try:
                future.result(timeout=60)
            except (ValueError, TransientError, threading.BrokenBarrierError, TimeoutError) as error:
                raise HaltIssuance(f"the self-test of the token failed: {error}") from error

    async def sign(self, key: Key, data: Data) -> bytes:
        """The signature of `data`, made by the first free thread.  Raises `TokenTrouble`."""
        return await self._done(lambda session: session.sign(key, data))

    async def sign_all(self, key: Key, data: Sequence[bytes]) -> list[bytes]:
        """The signatures of all `data`, one after another by one thread.  Raises `TokenTrouble`.

        Handing one to a thread and back costs as much as an EC signature itself.
        """
        return await self._done(lambda session: [session.sign(key, one) for one in data])

    async def _done(self, work: Callable[[Session], T]) -> T:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def finish(value: Any, error: BaseException | None) -> None:
            self._finished.append((waiting, value, error))
            with self._collecting:
                if self._collect_due:
                    return
                self._collect_due = True
            loop.call_soon_threadsafe(self._collect)

        self._work.put(_Item(work, finish))
        if self._watched_by is not loop:
            self._watched_by = loop
            loop.call_later(self._timeout, self._look, loop)
        return await waiting

    def must_answer(self) -> None:
        """Raises `TokenTrouble` while every thread hangs in the token: what needs it is not begun."""
        if self._hanging:
            raise self._too_slow()

    @property
    def keeper(self) -> Session:
        """The read-write session that finds and makes keys, for the thread that opened it."""
        return self._login

    def close(self) -> None:
        """Finish the queue, end the sessions, log out, finalise the module."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(timeout=self._timeout)
        if any(thread.is_alive() for thread in self._threads):
            return  # C_Finalize under a thread that hangs in the module is undefined; the process ends now.
        with contextlib.suppress(PKCS11Error):
            self._login.close()
        self._cryptoki.close()

    def _renewed(self, *, read_write: bool = False) -> pkcs11.Session:
        """A session in the place of a lost one, logged in.  Raises `TokenTrouble`."""
        with self._renewing:
            session = self._joined(read_write)
            if self._cryptoki.is_logged_in(session):
                return session
            with contextlib.suppress(PKCS11Error):
                session.close()
            raise trouble(Fault.LOGIN, f"token {self._serial} is not used")

    def _joined(self, read_write: bool) -> pkcs11.Session:
        try:
            return self._cryptoki.join(self._serial, read_write=read_write)
        except ConfigurationError as error:
            raise trouble(Fault.TOKEN, str(error)) from error
        except PKCS11Error as error:
            raise trouble(fault_of(error), f"no session on token {self._serial}", error) from error

    def _submit(self, work: Callable[[Session], T]) -> Future[T]:
        future: Future[T] = Future()

        def finish(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self._work.put(_Item(work, finish))
        return future

    def _run(self, number: int, session: Session) -> None:
        while (item := self._work.get()) is not None:
            self._current[number] = item
            try:
                value = item.work(session)
            except BaseException as error:
                self._current[number] = None
                item.finish(None, error)
            else:
                self._current[number] = None
                item.finish(value, None)
            self._hanging = False
        with contextlib.suppress(PKCS11Error):
            session.close()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """What was already under way a whole timeout ago is given up; its late result reaches nobody."""
        under_way = list(self._current)
        late = [
            item
            for item, seen in zip(under_way, self._seen, strict=True)
            if item is not None and item is seen
        ]
        self._seen = under_way
        for item in late:
            item.finish(None, self._too_slow())
        if len(late) == len(under_way):
            self._hanging = True
            self._give_up_the_queue()
        if any(under_way) or not self._work.empty():
            loop.call_later(self._timeout, self._look, loop)
        else:
            self._watched_by = None

    def _give_up_the_queue(self) -> None:
        with contextlib.suppress(queue.Empty):
            while (item := self._work.get_nowait()) is not None:
                item.finish(None, self._too_slow())
            self._work.put(None)

    def _too_slow(self) -> TokenTrouble:
        return TokenTrouble(
            Fault.UNKNOWN,
            f"token {self._serial} has not answered for {self._timeout} s: look at its load and connection, "
            "or raise vault.token_timeout; it is used again when it answers",
        )

    def _collect(self) -> None:
        with self._collecting:
            self._collect_due = False
        while self._finished:
            waiting, value, error = self._finished.popleft()
            if waiting.done():
                continue
            if error is None:
                waiting.set_result(value)
            else:
                waiting.set_exception(error)


def _must_bear(module: Module, threads: int) -> None:
    limit = module.habits.sessions
    if limit and threads > limit:
        raise ConfigurationError(f"this module bears {limit} signing sessions: set vault.threads = {limit}")
