"""The way to a perspective on another host: mutual TLS 1.3, warm connections, the Open MPIC wire.

The name in the server's certificate is the perspective's identity: CODE.zone, whatever address it is asked
at, so that no DNS answer leads to another one.  What is no whole, consistent answer is no answer: a fault on
the way, an unfinished check, a reply of the wrong type or without its statement corroborates nothing.

Must never: follow a redirect, heed a proxy of the environment, read more than a reply may hold, or let a
perspective elsewhere halt this CA.

BR 3.2.2.9; RFC 8446; RFC 6125.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import aiohttp

from core.errors import ConfigurationError, Refused, TransientError
from core.evidence import Result, SignedStatement, Statement
from core.settings import Perspective
from validation import open_mpic, translation
from validation.api import CheckRequest, Health
from validation.mutual_tls import Identity, host_name
from validation.open_mpic import CheckError, CheckResponse, Refusal
from validation.verdict import printable

CONNECT_SECONDS = 5.0
WARM_SECONDS = 60.0
"""An idle connection is kept that long: less than the server keeps it, so that we are the one who closes."""

CONNECTIONS = 64
_SHOWN = 200
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
        self._url = perspective.url
        self._name = host_name(perspective.code, zone)
        self._own = own
        self._identities = tuple(identity.lower() for identity in identities)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._distrusted = ""

    async def check(self, request: CheckRequest) -> SignedStatement:
        if self._distrusted:
            raise TransientError(f"it is not used: {self._distrusted}")
        asked = translation.attesting(request, self._identities)
        path, kind = ("/dcv", "dcv") if request.method else ("/caa", "caa")
        status, body = await self._ask("POST", path, open_mpic.encode(asked))
        if status == 422:
            raise _refusal(body)
        return _statement(_decoded(status, body, CheckResponse), kind)

    async def health(self) -> Health:
        """Its account of itself.  Raises `TransientError`, with its own words when it is not well."""
        self._own.refresh()
        status, body = await self._ask("GET", "/configz")
        health = _decoded(status, body, Health)
        status, body = await self._ask("GET", "/healthz")
        if status != 200:
            raise TransientError(f"it says that it is not well: {printable(body, _SHOWN)}")
        return health

    def distrust(self, why: str) -> None:
        """Do not ask it any more, because of `why`; "" asks it again."""
        self._distrusted = why

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of the reply.  Raises `TransientError`."""
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._exchange(method, path, body)
                except aiohttp.ServerDisconnectedError:
                    # A connection that was kept warm died with the process at its other end.
                    return await self._exchange(method, path, body)
        except TimeoutError as error:
            raise TransientError(f"no answer from {self._url} in {self._timeout:.0f} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TransientError(f"{self._url}: {printable(str(error), _SHOWN)}") from error
        except ConfigurationError as error:
            raise TransientError(str(error)) from error

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        session = self._opened()
        async with session.request(
            method,
            self._url + path,
            data=body,
            allow_redirects=False,
            server_hostname=self._name,
            ssl=self._own.get().context,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        ) as response:
            received = bytearray()
            async for piece in response.content.iter_any():
                received += piece
                if len(received) > open_mpic.REPLY_OCTETS:
                    response.close()
                    raise TransientError(
                        f"{self._url}: the reply is longer than {open_mpic.REPLY_OCTETS} octets"
                    )
            return response.status, bytes(received)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=WARM_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session


def _decoded(status: int, body: bytes, shape: type[_Shape]) -> _Shape:
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
        raise TransientError(f"the check was not completed: {_words(response.errors or ())}")
    signed = response.attestation
    if signed is None:
        raise TransientError("the reply carries no signed statement, and an unsigned word counts for nothing")
    try:
        statement = signed.statement()
    except ValueError as error:
        raise TransientError(printable(str(error), _SHOWN)) from error
    if response.check_passed is not (_result(statement, kind) is Result.PASS):
        raise TransientError("check_passed contradicts the signed statement beside it")
    return signed


def _result(statement: Statement, kind: str) -> Result | None:
    seen = statement.control if kind == "dcv" else statement.caa
    return seen.result if seen is not None else None


def _refusal(body: bytes) -> Refused | TransientError:
    try:
        first = open_mpic.decode(body, Refusal).errors[0]
    except (Refused, IndexError):
        return TransientError(f"status 422: {printable(body, _SHOWN)}")
    return Refused(printable(first.error_type, 64), printable(first.error_message, _SHOWN))


def _said(body: bytes) -> str:
    try:
        return _words(open_mpic.decode(body, Refusal).errors)
    except Refused:
        return printable(body, _SHOWN)


def _words(errors: tuple[CheckError, ...]) -> str:
    return printable("; ".join(error.error_message for error in errors), _SHOWN) or "no reason given"
