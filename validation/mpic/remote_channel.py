"""The way to a perspective on another host: mutual TLS 1.3, the Open MPIC wire, a signed statement back.

The name in the server's certificate is the perspective's identity: CODE.zone, whatever address it is asked
at, so that no DNS answer leads to another one.  What is no whole, consistent answer is no answer: a fault on
the way, an unfinished check, a reply of the wrong type or without its statement corroborates nothing.

Must never: let a perspective elsewhere halt this CA.

BR 3.2.2.9; RFC 8446; RFC 6125.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import evidence
from core.errors import Refused, TransientError
from core.evidence import Result, SignedStatement, Statement
from core.settings import Perspective
from validation.api import CheckRequest, Health, Looked, PreflightRequest, Preview
from validation.mpic import open_mpic, translation
from validation.mpic.mutual_tls import Identity, host_name
from validation.mpic.open_mpic import CheckError, CheckResponse, Refusal
from validation.mpic.peer import SHOWN, Peer
from validation.verdict import printable

_Shape = TypeVar("_Shape")


class CoordinatorIdentity:
    """Our own end of all remote channels, read when the first of them is used.

    Without it there is no coordinator, but a CA without perspectives elsewhere needs none.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._identity: Identity | None = None

    def get(self) -> Identity:
        """Raises `ConfigurationError` when there is none."""
        if self._identity is None:
            self._identity = Identity(self._directory, server=False)
        return self._identity

    def refresh(self) -> None:
        """Take renewed files."""
        if self._identity is not None:
            self._identity.refresh()


class RemoteChannel:
    """Asks one perspective at its `url`; a call takes `timeout` seconds at most.

    `identities` are our CAA issuer domain names, which the request carries.
    """

    def __init__(
        self,
        perspective: Perspective,
        zone: str,
        own: CoordinatorIdentity,
        identities: tuple[str, ...],
        timeout: float,
    ) -> None:
        name = host_name(perspective.code, zone)
        self._peer = Peer(perspective.url, timeout, lambda: own.get().context, name)
        self._own = own
        self._identities = tuple(identity.lower() for identity in identities)
        self._distrusted = ""
        self._pinned: tuple[bytes, ec.EllipticCurvePublicKey] | None = None

    async def check(self, request: CheckRequest) -> Looked:
        if self._distrusted:
            raise TransientError(f"it is not used: {self._distrusted}")
        asked = translation.attesting(request, self._identities)
        path, kind = ("/dcv", "dcv") if request.method else ("/caa", "caa")
        status, body = await self._peer.ask("POST", path, open_mpic.encode(asked))
        if status == 422:
            raise _refusal(body)
        response = decoded(status, body, CheckResponse)
        signed = _statement(response, kind)
        if self._pinned is not None:
            _must_be_by(*self._pinned, signed)
        return Looked(signed, response.facts or b"")

    async def preflight(self, request: PreflightRequest) -> Preview:
        if self._distrusted:
            raise TransientError(f"it is not used: {self._distrusted}")
        status, body = await self._peer.ask("POST", "/preflight", open_mpic.encode(request))
        if status == 422:
            raise _refusal(body)
        return decoded(status, body, Preview)

    async def health(self) -> Health:
        self._own.refresh()
        return decoded(*await self._peer.ask("GET", "/configz"), Health)

    def distrust(self, why: str) -> None:
        """Do not ask it any more, because of `why`; "" asks it again."""
        self._distrusted = why

    def pin(self, public_key: bytes) -> None:
        """Let only statements by this key (SubjectPublicKeyInfo) count.

        The vault would refuse a whole request for one that is not; here it costs one voice.
        """
        key = serialization.load_der_public_key(public_key)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self._pinned = evidence.key_id(key), key

    async def close(self) -> None:
        await self._peer.close()


def decoded(status: int, body: bytes, shape: type[_Shape]) -> _Shape:
    """The message in a reply.  Raises `TransientError`."""
    if status != 200:
        raise TransientError(f"status {status}: {_said(body)}")
    try:
        return open_mpic.decode(body, shape)
    except Refused as error:
        raise TransientError(error.detail) from error


def _statement(response: CheckResponse, kind: str) -> SignedStatement:
    """The statement in a reply that is whole and agrees with it.  Raises `TransientError`."""
    if response.check_type != kind:
        raise TransientError(
            f'a reply about "{printable(response.check_type, 20)}" to a question about {kind}'
        )
    if not response.check_completed:
        raise TransientError(f"the check was not completed: {words(response.errors or ())}")
    signed = response.attestation
    if signed is None:
        raise TransientError("the reply carries no signed statement, and an unsigned word counts for nothing")
    try:
        statement = signed.statement()
    except ValueError as error:
        raise TransientError(printable(str(error), SHOWN)) from error
    if response.check_passed is not (_result(statement, kind) is Result.PASS):
        raise TransientError("check_passed contradicts the signed statement beside it")
    return signed


def _must_be_by(key_id: bytes, key: ec.EllipticCurvePublicKey, signed: SignedStatement) -> None:
    """Raises `TransientError`."""
    try:
        if signed.key_id != key_id:
            raise ValueError("a statement is signed with a key that is not pinned")
        evidence.verify(signed, key)
    except ValueError as error:
        raise TransientError(f"IT IS NOT TO BE BELIEVED: {error}") from error


def _result(statement: Statement, kind: str) -> Result | None:
    seen = statement.control if kind == "dcv" else statement.caa
    return seen.result if seen is not None else None


def _refusal(body: bytes) -> Refused | TransientError:
    try:
        first = open_mpic.decode(body, Refusal).errors[0]
    except (Refused, IndexError):
        return TransientError(f"status 422: {printable(body, SHOWN)}")
    return Refused(printable(first.error_type, 64), printable(first.error_message, SHOWN))


def _said(body: bytes) -> str:
    try:
        return words(open_mpic.decode(body, Refusal).errors)
    except Refused:
        return printable(body, SHOWN)


def words(errors: tuple[CheckError, ...]) -> str:
    return printable("; ".join(error.error_message for error in errors), SHOWN) or "no reason given"
