"""The token behind PKCS#11: loaded with locking, one session per thread, signatures without waiting.

python-pkcs11 calls C_Initialize(NULL), after which a module may assume one thread: SoftHSM2 then corrupts its
memory when two sign at once.  So the library is initialised here, with CKF_OS_LOCKING_OK, and the vault
refuses to start when that did not take (docs/adr/0002-pkcs11-locking.md).

Must never: log or keep a PIN; be loaded before a fork (PKCS#11 v2.40 section 2.3: a child may not use it).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11._pkcs11 import lib as _Lib
from pkcs11.exceptions import NoSuchToken, PKCS11Error

from core.errors import ConfigurationError, HaltIssuance, TransientError
from signer.vault import algorithms, keys, token_facts
from signer.vault.custody import Custody
from signer.vault.keys import Key, KeyAlgorithm
from signer.vault.token_facts import TokenFacts

T = TypeVar("T")

_CKR_OK: Final = 0x000
_CKR_CRYPTOKI_ALREADY_INITIALIZED: Final = 0x191
_CKF_OS_LOCKING_OK: Final = 0x02
_SELF_TEST_SIGNATURES = 3
"""Per key and thread: the fault that the self-test looks for showed within the first few calls."""


@dataclass(frozen=True, slots=True)
class Module:
    """A PKCS#11 module and what it wants: its path, the environment to load it in, its C_Initialize flags."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    flags: int = _CKF_OS_LOCKING_OK


def softhsm(path: Path, tokens: Path, configuration: Path) -> Module:
    """SoftHSM2 on the token directory `tokens`; writes its configuration file to `configuration`."""
    tokens.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\n"
        "objectstore.umask = 0077\nlog.level = ERROR\nslots.removable = false\n"
    )
    return Module(path, {"SOFTHSM2_CONF": str(configuration)})


class Cryptoki:
    """One loaded and initialised module.  There is one of a kind in a process (PKCS#11 section 5.4)."""

    def __init__(self, module: Module) -> None:
        if not module.path.exists():
            raise ConfigurationError(
                f"no PKCS#11 module at {module.path}: run apt install softhsm2, or set vault.module"
            )
        os.environ.update(module.environment)
        self._module = module
        self._c = ctypes.CDLL(str(module.path))
        try:
            self._library = _locking_library(module, self._c)
        except PKCS11Error as error:
            raise ConfigurationError(f"{module.path} does not work as a PKCS#11 module: {error!r}") from error

    def make_token(self, label: str, so_pin: str, pin: str) -> str:
        """Initialise the free slot as a token; its serial number (CPS 6.2).

        python-pkcs11 has no C_InitToken, and a command line would show the PINs to every user of the machine.
        """
        free = [slot for slot in self._library.get_slots() if not slot.get_token().flags & _TOKEN_INITIALIZED]
        if not free:
            raise HaltIssuance("the module offers no slot for a new token")
        pin_octets = so_pin.encode()
        slot_id = free[0].slot_id
        result = self._c.C_InitToken(
            ctypes.c_ulong(slot_id), pin_octets, ctypes.c_ulong(len(pin_octets)), label.encode().ljust(32)
        )
        if result != _CKR_OK:
            raise HaltIssuance(f"the module refused to make a token (C_InitToken: {result:#x})")
        token = self._library.get_token(token_label=label)
        session = token.open(rw=True, so_pin=so_pin)
        session.init_pin(pin)
        session.close()
        return token.serial.decode()

    def open(self, serial: str, pin: str, *, read_write: bool = False) -> pkcs11.Session:
        """The first session, which logs the process in.  Raises `ConfigurationError` with the remedy."""
        try:
            return self._token(serial).open(rw=read_write, user_pin=pin)
        except pkcs11.PinIncorrect as error:
            raise ConfigurationError(
                f"the PIN is not the one of token {serial}: see vault.pin_file (three wrong ones may lock it)"
            ) from error

    def join(self, serial: str) -> pkcs11.Session:
        """One more session of the process that is logged in already."""
        return self._token(serial).open()

    def facts(self, serial: str, certificate: str = "") -> TokenFacts:
        """What the token and the module's file are now; `certificate` is what people found to cover it."""
        return token_facts.read(self._token(serial), self._module.path, certificate)

    def close(self) -> None:
        """C_Finalize: every session and login ends."""
        self._c.C_Finalize(None)

    def _token(self, serial: str) -> pkcs11.Token:
        try:
            return self._library.get_token(token_serial=serial.encode())
        except NoSuchToken as error:
            raise ConfigurationError(
                f"the module does not show the token {serial} of the ceremony: is it plugged in, or was the "
                "data directory's tokens/ left behind?"
            ) from error


class Session:
    """One thread's session and the handles of the keys that it has used."""

    def __init__(self, session: pkcs11.Session) -> None:
        self._session = session
        self._handles: dict[str, keys.SigningHandle] = {}

    def find(self, label: str, custody: Custody = Custody.SEALED) -> Key:
        """See `keys.find`."""
        return keys.find(self._session, label, custody)

    def generate(self, label: str, algorithm: KeyAlgorithm, custody: Custody = Custody.SEALED) -> Key:
        """See `keys.generate`."""
        return keys.generate(self._session, label, algorithm, custody)

    def has(self, label: str) -> bool:
        """Whether a private key of this label is there."""
        return keys.exists(self._session, label)

    def sign(self, key: Key, data: bytes) -> bytes:
        """See `keys.sign`.  Raises `TransientError` when the token fails."""
        handle = self._handles.get(key.label)
        if handle is None:
            handle = self._handles[key.label] = keys.private_key(self._session, key.label)
        try:
            return keys.sign(handle, key.algorithm, data)
        except PKCS11Error as error:
            del self._handles[key.label]
            raise TransientError(f"the token did not sign with {key.label!r}: {error!r}") from error

    def close(self) -> None:
        """End the session."""
        self._session.close()


Work = Callable[[Session], Any]


class TokenThreads:
    """Threads with a session each, fed by one queue.

    Finished work is handed back to the event loop in batches: while the loop has not yet come to collect,
    further results join the ones that wait, so that many signatures cost one wake-up.
    """

    def __init__(self, cryptoki: Cryptoki, serial: str, pin: str, threads: int) -> None:
        self._cryptoki = cryptoki
        self._work: queue.SimpleQueue[tuple[Work, Callable[[Any, BaseException | None], None]] | None]
        self._work = queue.SimpleQueue()
        self._finished: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._collecting = threading.Lock()
        self._collect_due = False
        # The session that logged in stays open: closing the last one would log the process out.
        self._login = Session(cryptoki.open(serial, pin, read_write=True))
        self._threads = [
            threading.Thread(
                target=self._run, args=(Session(cryptoki.join(serial)),), name=f"token-{number}", daemon=True
            )
            for number in range(threads)
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

    async def sign(self, key: Key, data: bytes) -> bytes:
        """The signature of `data`, made by the first free thread.  Raises `TransientError`."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bytes] = loop.create_future()

        def finish(value: Any, error: BaseException | None) -> None:
            self._finished.append((waiting, value, error))
            with self._collecting:
                if self._collect_due:
                    return
                self._collect_due = True
            loop.call_soon_threadsafe(self._collect)

        self._work.put((lambda session: session.sign(key, data), finish))
        return await waiting

    @property
    def keeper(self) -> Session:
        """The read-write session that finds and makes keys, for the thread that opened it."""
        return self._login

    def close(self) -> None:
        """Finish the queue, end the sessions, log out, finalise the module."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._login.close()
        self._cryptoki.close()

    def _submit(self, work: Callable[[Session], T]) -> Future[T]:
        future: Future[T] = Future()

        def finish(value: Any, error: BaseException | None) -> None:
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self._work.put((work, finish))
        return future

    def _run(self, session: Session) -> None:
        while (item := self._work.get()) is not None:
            work, finish = item
            try:
                value = work(session)
            except BaseException as error:
                finish(None, error)
            else:
                finish(value, None)
        session.close()

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


_TOKEN_INITIALIZED = pkcs11.TokenFlag.TOKEN_INITIALIZED


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 section 3.7): no mutex callbacks, the operating system's locks."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


def _locking_library(module: Module, c: ctypes.CDLL) -> _Lib:
    class Locking(_Lib):
        """python-pkcs11's library with our C_Initialize in the place of its own."""

        def initialize(self) -> None:
            _initialize(c, module)

    library = Locking(str(module.path))
    # Had python-pkcs11 not called our override, or called its own as well, the first answer in `_initialize`
    # or this one would differ: the initialisation in force is ours, and it asked for locks.
    result = c.C_Initialize(ctypes.byref(_InitializeArguments(flags=module.flags)))
    if result != _CKR_CRYPTOKI_ALREADY_INITIALIZED:
        raise HaltIssuance(
            f"the module was not initialised by us (C_Initialize: {result:#x}): refusing to start"
        )
    return library


def _initialize(c: ctypes.CDLL, module: Module) -> None:
    result = c.C_Initialize(ctypes.byref(_InitializeArguments(flags=module.flags)))
    if result != _CKR_OK:
        raise HaltIssuance(
            f"{module.path} was initialised by somebody else or cannot lock (C_Initialize: {result:#x}): "
            "with more than one thread it would corrupt its memory, so the vault does not start"
        )
