"""The guarded dialer: the only place that opens connections to subscribers' hosts.

Each GET has a session of its own, whose resolver knows one address and whose sockets refuse every other;
so neither a second look-up (DNS rebinding) nor an address literal in a URL can lead elsewhere.  Nothing is
shared between two GETs: no cookies, no connection, no proxy from the environment, no decompression.

Must never: follow a redirect, or resolve a name.  RFC 8555 section 10.2; BR 3.2.2.4.19.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

import aiohttp
import aiohttp.abc
from aiohttp.client_reqrep import ClientResponse
from yarl import URL

from core.errors import TransientError
from validation.addresses import Address
from validation.redirects import Hop
from validation.verdict import CheckFailed

USER_AGENT = "acme-server validation (RFC 8555 http-01)"
LINE_OCTETS = 4096
HEADERS = 64


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


class _Strayed(Exception):
    """The HTTP library wanted to connect elsewhere than to the pinned address."""


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
        pin = _Pin(address, port)
        connect = self._limits.connect_v6 if address.version == 6 else self._limits.connect
        timeout = aiohttp.ClientTimeout(
            total=self._limits.hop, sock_connect=connect, sock_read=self._limits.read, ceil_threshold=3600
        )
        connector = aiohttp.TCPConnector(
            resolver=pin,
            socket_factory=pin.socket,
            use_dns_cache=False,
            force_close=True,
            happy_eyeballs_delay=None,
            ssl=self._tls,
        )
        where = f"{address} port {port}"
        try:
            async with aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=LINE_OCTETS,
                max_field_size=LINE_OCTETS,
                max_headers=HEADERS,
                headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
            ) as session:
                url = URL(f"{hop.scheme}://{_bracketed(hop.host)}:{port}{hop.target}", encoded=True)
                # The Host field is the URL's own, also where a test bench moved port 80 to another.
                async with session.get(
                    url, headers={"Host": hop.authority}, allow_redirects=False
                ) as response:
                    body = await _read(response, octets) if response.status == 200 else b""
                    return Reply(response.status, response.headers.get("Location"), body)
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise CheckFailed("tls", f"{where}: the TLS handshake failed ({_reason(error)})") from error
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            raise ConnectFailed("connection", f"{where}: {_reason(error)}") from error
        except TimeoutError as error:
            raise CheckFailed("connection", f"{where}: timeout while waiting for the answer") from error
        except aiohttp.ClientResponseError as error:
            raise CheckFailed("connection", f"{where}: not an acceptable HTTP response") from error
        except (aiohttp.ClientError, OSError) as error:
            raise CheckFailed("connection", f"{where}: {_reason(error)}") from error
        except _Strayed as error:
            raise TransientError(f"the dialer refused to connect to {error}") from error


class _Pin(aiohttp.abc.AbstractResolver):
    """One address: what the library resolves to, and the only one that its sockets are made for."""

    def __init__(self, address: Address, port: int) -> None:
        self._address = address
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=str(self._address),
                port=self._port,
                family=socket.AF_INET6 if isinstance(self._address, IPv6Address) else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, destination = info
        if tuple(destination[:2]) != (str(self._address), self._port):
            raise _Strayed(str(destination))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


async def _read(response: ClientResponse, octets: int) -> bytes:
    body = b""
    while len(body) < octets:
        piece = await response.content.read(octets - len(body))
        if not piece:
            break
        body += piece
    return body


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reason(error: BaseException) -> str:
    """A short reason that tells nothing about our own machine."""
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "timeout while connecting"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    cause = getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.lower().replace("_", " ")
    return (getattr(cause, "strerror", None) or cause.__class__.__name__).lower()
