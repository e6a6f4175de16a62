"""What a token's error means: whether a session, the login or the device is lost, and what to do about it.

Nothing here is retried blindly.  A stale handle or a lost session gives no signature, so the same octets may
be signed again in a new session as long as the login still holds; whatever else went wrong is told, and the
next use tries from the beginning.

PKCS#11 v2.40 sections 5.1 (return values) and 5.6.6 (one C_Logout logs out every session of the process).
"""

from __future__ import annotations

from enum import StrEnum

import pkcs11
from pkcs11 import exceptions
from pkcs11.exceptions import PKCS11Error

from core.errors import TransientError


class Fault(StrEnum):
    """What is lost."""

    HANDLE = "the handle of the key"
    SESSION = "the session"
    LOGIN = "the login"
    TOKEN = "the token"
    UNKNOWN = "the operation"


class TokenTrouble(TransientError):
    """The token cannot be used now.  `fault` says what is lost."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


_FAULTS: dict[type[PKCS11Error], Fault] = {
    pkcs11.exceptions.KeyHandleInvalid: Fault.HANDLE,
    pkcs11.exceptions.ObjectHandleInvalid: Fault.HANDLE,
    pkcs11.SessionHandleInvalid: Fault.SESSION,
    exceptions.SessionClosed: Fault.SESSION,
    # Another operation was left open in the session: it is of no more use.
    exceptions.OperationActive: Fault.SESSION,
    exceptions.UserNotLoggedIn: Fault.LOGIN,
    exceptions.DeviceRemoved: Fault.TOKEN,
    exceptions.TokenNotPresent: Fault.TOKEN,
    exceptions.TokenNotRecognised: Fault.TOKEN,
    exceptions.SlotIDInvalid: Fault.TOKEN,
    exceptions.NoSuchToken: Fault.TOKEN,
}
_REMEDIES = {
    Fault.HANDLE: "the key is there no more: compare the token with the ceremony's record",
    Fault.SESSION: "a new session is opened for the next signature; if it goes on, look at the token",
    Fault.LOGIN: "every session is logged out: activate the token again (embedded: restart the vault)",
    Fault.TOKEN: "plug it in again or see to its connection, then activate it (embedded: it does so itself)",
    Fault.UNKNOWN: "look at the token's own log; the next signature tries from the beginning",
}


def fault_of(error: PKCS11Error) -> Fault:
    """What is lost after this error."""
    return _FAULTS.get(type(error), Fault.UNKNOWN)


def trouble(fault: Fault, what: str, error: BaseException | None = None) -> TokenTrouble:
    """The error for the caller: what was to be done, what is lost, what to do about it."""
    cause = f" ({type(error).__name__})" if error is not None else ""
    return TokenTrouble(fault, f"{what}: {fault} is lost{cause}: {_REMEDIES[fault]}")
