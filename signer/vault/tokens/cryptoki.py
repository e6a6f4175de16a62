"""One loaded and initialised PKCS#11 module: tokens made, opened, joined, described.

python-pkcs11 calls C_Initialize(NULL), after which a module may assume one thread: SoftHSM2 then corrupts its
memory when two sign at once.  So the library is initialised here, with CKF_OS_LOCKING_OK, and the vault
refuses to start when that did not take (docs/adr/0002-pkcs11-locking.md).  What python-pkcs11 does not have
(C_InitToken, C_GetSessionInfo, NSS's parameters) is called through the table of C_GetFunctionList, the only
symbol that a module must export.

Must never: log or keep a PIN; be loaded before a fork (PKCS#11 v2.40 section 2.3: a child may not use it).
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final, NoReturn

import pkcs11
from pkcs11 import TokenFlag
from pkcs11._pkcs11 import lib as _Lib
from pkcs11.exceptions import PKCS11Error

from core.errors import ConfigurationError, HaltIssuance
from signer.vault.tokens import facts as token_facts
from signer.vault.tokens.facts import TokenFacts
from signer.vault.tokens.modules import Making, Module

_CKR_OK: Final = 0x000
_CKR_CRYPTOKI_ALREADY_INITIALIZED: Final = 0x191
_LOGGED_IN_STATES: Final = frozenset({1, 3})
"""CKS_RO_USER_FUNCTIONS and CKS_RW_USER_FUNCTIONS (PKCS#11 section 3.3)."""

_FACTORY_SO_PIN = "87654321"
"""openCryptoki's, of every new token, in its documentation."""

_ATTEMPTS = 3
"""Two processes that start at the same instant: SoftHSM2's first slot list has failed once in 13 starts."""

_PIN_ERRORS: dict[type[PKCS11Error], str] = {
    pkcs11.PinIncorrect: "the PIN is not the one of token {serial}: see vault.pin_file (three wrong ones may "
    "lock it)",
    pkcs11.PinLocked: "the PIN of token {serial} is locked after too many wrong ones: the security officer "
    "sets a new one with the vendor's tool, or the ceremony's backup is put in its place",
    pkcs11.PinExpired: "the PIN of token {serial} has expired: set a new one with the vendor's tool",
    pkcs11.UserPinNotInitialized: "token {serial} has no user PIN yet: it was not made by our ceremony",
    pkcs11.exceptions.PinTooWeak: "token {serial} calls its PIN too weak: set another with the vendor's tool",
}


class PinRefused(ConfigurationError):
    """The token did not take the PIN: trying it again may lock it."""


class Cryptoki:
    """One loaded and initialised module.  There is one of a kind in a process (PKCS#11 section 5.4)."""

    def __init__(self, module: Module) -> None:
        if not module.path.exists():
            raise ConfigurationError(
                f"no PKCS#11 module at {module.path}: {module.habits.remedy}, or set vault.module"
            )
        os.environ.update(module.environment)
        self.module = module
        self._process = os.getpid()
        self._functions = _Functions(module)
        try:
            self._library = _locking_library(module, self._functions)
        except PKCS11Error as error:
            raise ConfigurationError(f"{module.path} does not work as a PKCS#11 module: {error!r}") from error

    def make_token(self, label: str, so_pin: str, pin: str) -> str:
        """Initialise a free slot as a token; its serial number (CPS 6.2).

        python-pkcs11 has no C_InitToken, and a command line would show the PINs to every user of the machine.
        """
        habits = self.module.habits
        if max(len(pin.encode()), len(so_pin.encode())) > habits.longest_pin:
            raise ConfigurationError(
                f"this kind of token takes PINs of {habits.longest_pin} octets at most: use another token"
            )
        free = [token for token in self._tokens() if not token.flags & TokenFlag.TOKEN_INITIALIZED]
        if not free:
            raise HaltIssuance("the module offers no slot for a new token")
        slot_id = free[0].slot.slot_id
        first_so_pin = so_pin
        match habits.making:
            case Making.FREE_SLOT:
                self._functions.init_token(slot_id, so_pin, label)
            case Making.DATABASE:
                first_so_pin = ""
            case Making.FACTORY_PIN:
                first_so_pin = _FACTORY_SO_PIN
                self._functions.init_token(slot_id, first_so_pin, label)
        token = next(token for token in self._tokens() if token.slot.slot_id == slot_id)
        session = token.open(rw=True, so_pin=first_so_pin)
        if habits.making is Making.FACTORY_PIN:
            session.set_pin(first_so_pin, so_pin)
        session.init_pin(pin)
        session.close()
        return token.serial.decode()

    def open(self, serial: str, pin: str | bytearray, *, read_write: bool = False) -> pkcs11.Session:
        """The first session, which logs the process in.  Raises `PinRefused`, `ConfigurationError`."""
        user_pin = pin if isinstance(pin, str) else _WipeablePin(pin)
        try:
            return self._token(serial).open(rw=read_write, user_pin=user_pin)
        except tuple(_PIN_ERRORS) as error:
            raise PinRefused(_PIN_ERRORS[type(error)].format(serial=serial)) from error

    def open_officer(self, serial: str, so_pin: str) -> pkcs11.Session:
        """A session that logs the security officer in, whom no user's session may accompany."""
        try:
            return self._token(serial).open(rw=True, so_pin=so_pin)
        except tuple(_PIN_ERRORS) as error:
            raise PinRefused(
                f"the security officer's PIN is not the one of token {serial} ({type(error).__name__}): "
                "wrong ones may lock it for ever"
            ) from error

    def join(self, serial: str, *, read_write: bool = False) -> pkcs11.Session:
        """One more session of the process that is logged in already."""
        return self._token(serial).open(rw=read_write)

    def is_logged_in(self, session: pkcs11.Session) -> bool:
        """Whether the user is logged in where this session is.  One C_Logout logs every session out."""
        return self._functions.session_state(session) in _LOGGED_IN_STATES

    def facts(self, serial: str, certificate: str = "") -> TokenFacts:
        """What the token and the module's file are now; `certificate` is what people found to cover it."""
        return token_facts.read(self._token(serial), self.module.path, certificate)

    def close(self) -> None:
        """C_Finalize: every session and login ends."""
        self._functions.finalize()

    def _token(self, serial: str) -> pkcs11.Token:
        # NSS gives the same serial number to a slot that holds no keys and knows no PIN.
        found = [
            token
            for token in self._tokens()
            if token.serial == serial.encode() and token.flags & TokenFlag.LOGIN_REQUIRED
        ]
        if len(found) != 1:
            raise ConfigurationError(
                f"the module does not show the token {serial} of the ceremony ({len(found)} such): is it "
                "plugged in, or was the data directory's tokens/ left behind?"
            )
        return found[0]

    def _tokens(self) -> list[pkcs11.Token]:
        if os.getpid() != self._process:
            raise HaltIssuance("a forked child called the PKCS#11 module: it may not (PKCS#11 section 2.3)")
        for attempt in range(_ATTEMPTS):
            try:
                return [slot.get_token() for slot in self._library.get_slots(token_present=True)]
            except pkcs11.GeneralError:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")


class _WipeablePin:
    """A PIN for python-pkcs11, which asks for `encode` and hands the octets on: no copy of them is made."""

    def __init__(self, octets: bytearray) -> None:
        self._octets = octets

    def encode(self, encoding: str) -> bytearray:
        return self._octets


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 section 3.7): no mutex callbacks, the operating system's locks.

    NSS has a field more, LibraryParameters, where the others have pReserved: one layout serves both.
    """

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("library_parameters", ctypes.c_char_p),
        ("reserved", ctypes.c_void_p),
    )


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO (PKCS#11 section 3.3)."""

    _fields_ = (
        ("slot_id", ctypes.c_ulong),
        ("state", ctypes.c_ulong),
        ("flags", ctypes.c_ulong),
        ("device_error", ctypes.c_ulong),
    )


_ULONG, _POINTER = ctypes.c_ulong, ctypes.c_void_p
_SIGNATURES: dict[str, tuple[int, tuple[Any, ...]]] = {
    # name: (place in CK_FUNCTION_LIST, PKCS#11 section 3.6; types of the arguments)
    "C_Initialize": (0, (_POINTER,)),
    "C_Finalize": (1, (_POINTER,)),
    "C_InitToken": (9, (_ULONG, ctypes.c_char_p, _ULONG, ctypes.c_char_p)),
    "C_GetSessionInfo": (15, (_ULONG, _POINTER)),
}
_TABLE_OFFSET = ctypes.sizeof(ctypes.c_void_p)
"""The version, two octets, takes a whole word before the first function."""


class _Functions:
    """The module's own table of functions, for the four that we call ourselves."""

    def __init__(self, module: Module) -> None:
        self._module = module
        table = ctypes.c_void_p()
        try:
            library = ctypes.CDLL(str(module.path))
            result = library.C_GetFunctionList(ctypes.byref(table))
        except (OSError, AttributeError) as error:
            raise ConfigurationError(f"{module.path} is no PKCS#11 module: {error}") from error
        if result != _CKR_OK or not table.value:
            raise ConfigurationError(f"{module.path} gives no function list ({result:#x})")
        entries = ctypes.cast(table.value + _TABLE_OFFSET, ctypes.POINTER(ctypes.c_void_p))
        self._call = {
            name: ctypes.CFUNCTYPE(_ULONG, *arguments)(entries[place] or 0)
            for name, (place, arguments) in _SIGNATURES.items()
        }

    def initialize(self) -> int:
        parameters = self._module.parameters.encode() or None
        arguments = _InitializeArguments(flags=self._module.habits.flags, library_parameters=parameters)
        return int(self._call["C_Initialize"](ctypes.byref(arguments)))

    def finalize(self) -> None:
        self._call["C_Finalize"](None)

    def init_token(self, slot_id: int, so_pin: str, label: str) -> None:
        pin = so_pin.encode()
        result = self._call["C_InitToken"](slot_id, pin, len(pin), label.encode().ljust(32))
        if result != _CKR_OK:
            raise HaltIssuance(f"the module refused to make a token (C_InitToken: {result:#x})")

    def session_state(self, session: Any) -> int | None:
        """CK_STATE, or None when the session is no more."""
        info = _SessionInfo()
        result = self._call["C_GetSessionInfo"](session.handle, ctypes.byref(info))
        return int(info.state) if result == _CKR_OK else None


_classes: list[type] = []
"""Kept: the garbage collector may clear a class before its instance, whose end then misses its methods."""


def _locking_library(module: Module, functions: _Functions) -> _Lib:
    class Locking(_Lib):
        """python-pkcs11's library with our C_Initialize in the place of its own."""

        def initialize(self) -> None:
            result = functions.initialize()
            if result != _CKR_OK:
                _not_by_us(module, result)

    _classes.append(Locking)
    library = Locking(str(module.path))
    # Had python-pkcs11 not called our override, or called its own as well, the first answer in `initialize`
    # or this one would differ: the initialisation in force is ours, and it asked for locks.
    result = functions.initialize()
    if result != _CKR_CRYPTOKI_ALREADY_INITIALIZED:
        raise HaltIssuance(
            f"the module was not initialised by us (C_Initialize: {result:#x}): refusing to start"
        )
    return library


def _not_by_us(module: Module, result: int) -> NoReturn:
    raise HaltIssuance(
        f"{module.path} was initialised by somebody else or cannot lock (C_Initialize: {result:#x}): "
        "with more than one thread it would corrupt its memory, so the vault does not start"
    )
