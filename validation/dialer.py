"""The guarded dialer: the only place that opens connections to subscribers' hosts.

Each GET dials one address, given as a number, on a connection of its own: there is no resolver, no pool, no
proxy, no cookie and no decompression behind it that could lead elsewhere or remember anything.  llhttp (by
httptools) reads the answer; what is here bounds it.

Must never: follow a redirect, or resolve a name.  RFC 8555 section 10.2; BR 3.2.2.4.19.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from dataclasses import dataclass
from typing import cast

import httptools

from core.errors import TransientError
from validation.addresses import Address
from validation.redirects import Hop
from validation.verdict import CheckFailed

USER_AGENT = "acme-server validation (RFC 8555 http-01)"
LINE_OCTETS = 4096
HEADERS = 64
HEAD_OCTETS = 16 * LINE_OCTETS

_WORD = re.compile(r"[!-~]+")
"""What may stand in a request line or field: no white space, no line break."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Seconds.  The total of a hop defeats drip-feeding, which no read timeout sees.

    `check` stays below the 15 s after which the quorum no longer waits (validation/client.py), so that a slow
    host gets a verdict and not our silence.
    """

    connect_v6: float = 3.0
    connect: float = 5.0
    read: float = 5.0
    hop: float = 10.0
    check: float = 12.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: `body` holds at most the octets asked for, `location` is the raw field."""

    status: int
    location: str | None
    body: bytes


class ConnectFailed(CheckFailed):
    """No connection came about: the other address family may be tried."""


class GuardedDialer:
    """GETs from one address at a time.  The caller has policed the address."""

    def __init__(self, limits: HttpLimits | None = None) -> None:
        self._limits = limits or HttpLimits()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The certificate of a host that asks for a certificate cannot be expected to be valid.
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    @property
    def limits(self) -> HttpLimits:
        """The limits in force."""
        return self._limits

    async def get(self, hop: Hop, address: Address, port: int, octets: int) -> Reply:
        """The answer to a GET of `hop` from `address` and `port`; of a 200's body at most `octets` octets.

        Raises: `ConnectFailed` when no connection came about, `CheckFailed` ("connection", "tls") after that;
        `TransientError` for a fault of ours.
        """
        where = f"{address} port {port}"
        request = _request(hop)
        loop = asyncio.get_running_loop()
        exchange = _Exchange(loop, self._limits.read, octets)
        try:
            async with asyncio.timeout(self._limits.hop):
                transport = await self._connect(exchange, address, port, where)
                if hop.scheme == "https":
                    transport = await self._secure(exchange, transport, hop.host)
                transport.write(request)
                return await exchange.reply
        except TimeoutError as error:
            raise CheckFailed("connection", f"{where}: timeout while waiting for the answer") from error
        except ssl.SSLError as error:
            raise CheckFailed("tls", f"{where}: the TLS handshake failed ({_reason(error)})") from error
        except _Unacceptable as error:
            raise CheckFailed("connection", f"{where}: {error}") from error
        except OSError as error:
            raise CheckFailed("connection", f"{where}: {_reason(error)}") from error
        finally:
            exchange.end()

    async def _connect(
        self, exchange: _Exchange, address: Address, port: int, where: str
    ) -> asyncio.Transport:
        seconds = self._limits.connect_v6 if address.version == 6 else self._limits.connect
        try:
            async with asyncio.timeout(seconds):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: exchange, str(address), port, flags=socket.AI_NUMERICHOST
                )
        except OSError as error:  # TimeoutError is one
            raise ConnectFailed("connection", f"{where}: {_reason(error)}") from error
        return transport

    async def _secure(
        self, exchange: _Exchange, transport: asyncio.Transport, host: str
    ) -> asyncio.Transport:
        secured = await asyncio.get_running_loop().start_tls(
            transport, exchange, self._tls, server_hostname=host
        )
        if secured is None:
            raise ConnectionResetError("closed during the TLS handshake")
        exchange.connection_made(secured)
        return secured


class _Unacceptable(Exception):
    """Not an HTTP response that we take; the message is for the applicant."""


class _Exchange(asyncio.Protocol):
    """Reads one response.  `reply` has it, as soon as all is there that was asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, octets: int) -> None:
        """`seconds` that the host may be silent; `octets` of the body are enough."""
        self.reply: asyncio.Future[Reply] = loop.create_future()
        self._loop = loop
        self._seconds = seconds
        self._octets = octets
        self._transport: asyncio.Transport | None = None
        self._silence = loop.call_later(seconds, self._expire)
        self._parser = httptools.HttpResponseParser(self)
        # As browsers do: a bare LF and the like.  One answer is read, so nothing can be smuggled behind it.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._headed = False
        self._head = self._fields = 0
        self._status = 0
        self._location: str | None = None
        self._framed = False
        """The response says where it ends; else the end of the connection does (RFC 9112 section 6.3)."""
        self._body = b""

    def end(self) -> None:
        """Drop the connection."""
        self._silence.cancel()
        if not self.reply.cancel() and not self.reply.cancelled():
            self.reply.exception()  # seen, whoever raised it first
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transports by duck typing only: an isinstance would say no.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._silence.cancel()
        if self.reply.done():
            return
        self._silence = self._loop.call_later(self._seconds, self._expire)
        try:
            self._parser.feed_data(data)
            if not self._headed:
                self._count_head(len(data))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, _Unacceptable):
            self._fail(_Unacceptable("not an acceptable HTTP response"))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._fail(exc)
        elif self._headed and not self._framed:
            self._finish()
        elif self._head:
            self._fail(_Unacceptable("the server closed the connection within its answer"))
        else:
            self._fail(_Unacceptable("the server closed the connection without an answer"))

    # httptools

    def on_message_begin(self) -> None:
        self._headed = self._framed = False
        self._location = None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > HEADERS or len(name) + len(value) > LINE_OCTETS:
            raise _Unacceptable("too large a header")
        key = name.lower()
        if key == b"location" and self._location is None:
            self._location = value.decode("utf-8", "surrogateescape")
        self._framed = self._framed or key in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if 100 <= self._status < 200 and self._status != 101:
            return  # the answer is still to come (RFC 9110 section 15.2)
        self._headed = True
        if self._status != 200:
            self._finish()

    def on_body(self, body: bytes) -> None:
        self._body += body[: self._octets - len(self._body)]
        if len(self._body) >= self._octets:
            self._finish()

    def on_message_complete(self) -> None:
        if self._headed:
            self._finish()

    def _count_head(self, octets: int) -> None:
        self._head += octets
        if self._head > HEAD_OCTETS:
            raise _Unacceptable("too large a header")

    def _finish(self) -> None:
        if not self.reply.done():
            self.reply.set_result(Reply(self._status, self._location, self._body))

    def _fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)

    def _expire(self) -> None:
        self._fail(TimeoutError())


def _request(hop: Hop) -> bytes:
    # The Host field is the URL's own, also where a test bench moved port 80 to another.
    if not (_WORD.fullmatch(hop.target) and _WORD.fullmatch(hop.authority)):
        raise TransientError(f"the dialer refused to send {hop.url!r}")
    return (
        f"GET {hop.target} HTTP/1.1\r\nHost: {hop.authority}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _reason(error: OSError) -> str:
    """A short reason that tells nothing about our own machine."""
    if isinstance(error, TimeoutError):
        return "timeout while connecting"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "protocol error").lower().replace("_", " ")
    return os.strerror(error.errno).lower() if error.errno else error.__class__.__name__.lower()
