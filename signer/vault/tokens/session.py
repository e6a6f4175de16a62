"""One thread's session on a token, and the handles of the keys that it has used.

A session that was lost is opened again while the login holds; a lost login or token is told.

Must never: keep a PIN; take a key that is gone for one that never was.

PKCS#11 v2.40 section 5.6 (sessions, login); faults: faults.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import pkcs11
from pkcs11 import Mechanism
from pkcs11.exceptions import PKCS11Error

from core.errors import HaltIssuance
from signer.vault.tokens import keys
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.faults import Fault, fault_of, trouble
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.message import Data
from signer.vault.tokens.modules import Hashing

T = TypeVar("T")

_SIGNED_AGAIN = frozenset({Fault.HANDLE, Fault.SESSION, Fault.LOGIN})
"""After these no signature was made: the call did not reach the key."""


class Session:
    """One thread's session and the handles of the keys that it has used.

    `renew` opens another session in the place of one that was lost.
    """

    def __init__(
        self,
        session: pkcs11.Session,
        cryptoki: Cryptoki | None = None,
        renew: Callable[[], pkcs11.Session] | None = None,
    ) -> None:
        self._open: pkcs11.Session | None = session
        self._cryptoki = cryptoki
        self._renew = renew
        self._handles: dict[str, keys.SigningHandle] = {}
        self._used: set[str] = set()
        self._mechanisms: dict[KeyAlgorithm, Mechanism] = {}

    def find(self, label: str, custody: Custody = Custody.SEALED) -> Key:
        """See `keys.find`.  Raises `TokenTrouble` when the token fails."""
        return self._use(
            f"the key {label!r} was not found",
            lambda: keys.find(self._session, label, custody, tells_local=self._tells_local),
            again=True,
        )

    def generate(self, label: str, algorithm: KeyAlgorithm, custody: Custody = Custody.SEALED) -> Key:
        """See `keys.generate`.  Raises `TokenTrouble` when the token fails."""
        return self._use(
            f"the key {label!r} was not made",
            lambda: keys.generate(self._session, label, algorithm, custody, tells_local=self._tells_local),
            again=False,
        )

    def has(self, label: str) -> bool:
        """Whether a private key of this label is there.  Raises `TokenTrouble` when the token fails."""
        return self._use(
            f"the key {label!r} was not looked for", lambda: keys.exists(self._session, label), again=True
        )

    def labels(self) -> frozenset[str]:
        """See `keys.labels`."""
        return keys.labels(self._session)

    def destroy(self, label: str) -> int:
        """See `keys.destroy`."""
        self._handles.pop(label, None)
        return keys.destroy(self._session, label)

    def sign(self, key: Key, data: Data) -> bytes:
        """See `keys.sign`.  Raises `TokenTrouble` when the token fails, after trying a lost session anew."""
        return self._use(
            f"the token did not sign with {key.label!r}", lambda: self._signed(key, data), again=True
        )

    def adopt(self, session: pkcs11.Session) -> None:
        """Go on in another session; the old one is lost."""
        self._open = session
        self._handles.clear()

    def close(self) -> None:
        """End the session."""
        if self._open is not None:
            self._open.close()

    @property
    def raw(self) -> pkcs11.Session:
        """The session itself, for what ceremonies and start-up checks do with it (wrapping.py)."""
        return self._session

    @property
    def _session(self) -> pkcs11.Session:
        if self._open is None:
            assert self._renew is not None  # without it `_forget` keeps what there is
            self._open = self._renew()
        return self._open

    @property
    def _tells_local(self) -> bool:
        return self._cryptoki is None or self._cryptoki.module.habits.tells_local

    def _signed(self, key: Key, data: Data) -> bytes:
        session = self._session
        handle = self._handles.get(key.label)
        if handle is None:
            # Who is logged out sees no private key, and would take that for a token without it.
            if self._cryptoki is not None and not self._cryptoki.is_logged_in(session):
                raise pkcs11.UserNotLoggedIn
            handle = self._handles[key.label] = self._found(session, key.label)
        return keys.sign(handle, key.algorithm, data, self._mechanism(session, key.algorithm))

    def _found(self, session: pkcs11.Session, label: str) -> keys.SigningHandle:
        try:
            handle = keys.private_key(session, label)
        except HaltIssuance as error:
            if label in self._used:
                # A token that was taken away may leave a session that finds nothing.
                raise trouble(Fault.TOKEN, f"the key {label!r} was here and is gone") from error
            raise
        self._used.add(label)
        return handle

    def _mechanism(self, session: pkcs11.Session, algorithm: KeyAlgorithm) -> Mechanism:
        chosen = self._mechanisms.get(algorithm)
        if chosen is None:
            ways = tuple(Hashing) if self._cryptoki is None else self._cryptoki.module.habits.hashing
            chosen = keys.mechanism(algorithm, session.token.slot.get_mechanisms(), ways)
            self._mechanisms[algorithm] = chosen
        return chosen

    def _use(self, failed: str, work: Callable[[], T], *, again: bool) -> T:
        try:
            return work()
        except PKCS11Error as error:
            fault, cause = self._fault_of(error), error
        self._forget(fault)
        if again and fault in _SIGNED_AGAIN and self._renew is not None:
            try:
                return work()
            except PKCS11Error as error:
                fault, cause = self._fault_of(error), error
            self._forget(fault)
        raise trouble(fault, failed, cause) from cause

    def _fault_of(self, error: PKCS11Error) -> Fault:
        fault = fault_of(error)
        if fault is Fault.UNKNOWN and self._cryptoki is not None and self._open is not None:
            # NSS has other words for it (KeyTypeInconsistent).
            return fault if self._cryptoki.is_logged_in(self._open) else Fault.LOGIN
        return fault

    def _forget(self, fault: Fault) -> None:
        self._handles.clear()
        if fault is Fault.HANDLE or self._renew is None or self._open is None:
            return
        lost, self._open = self._open, None
        if fault is not Fault.SESSION:
            # A lost session's number may be another thread's by now; the others are still ours to close.
            with contextlib.suppress(PKCS11Error):
                lost.close()
