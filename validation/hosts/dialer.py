"""The guarded dialer: the only place that opens connections to subscribers' hosts.

Each call dials one address, given as a number, on a connection of its own: there is no resolver, no pool, no
proxy and no TLS session behind it that could lead elsewhere or remember anything.

Must never: follow a redirect, or resolve a name.  RFC 8555 section 10.2; RFC 8737; BR 3.2.2.4.19, 3.2.2.4.20.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import cast

from core.errors import TransientError
from validation.addresses import Address
from validation.hosts.http_exchange import Exchange, Reply, Unacceptable, request
from validation.hosts.redirects import Hop
from validation.limiter import PER_NETWORK, Places
from validation.verdict import CheckFailed

ACME_TLS = "acme-tls/1"
"""The one protocol that tls-alpn-01 offers and takes (RFC 8737 section 6.2)."""


OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EPERM})
"""What the kernel says when this machine is out of files, memory or ports, or its own firewall forbids."""


_NO_PROTOCOL = "no application protocol"
"""How OpenSSL calls alert 120."""


@dataclass(frozen=True, slots=True)
class DialLimits:
    """Seconds.  The total of a hop defeats drip-feeding, which no read timeout sees.

    `check` is for all hops of http-01, `tls_alpn` for all of tls-alpn-01.  Both stay below the 15 s after
    which the quorum no longer waits (validation/mpic/client.py): a slow host gets a verdict and
    not our silence.
    `busy` is how long a connection waits for others to the same network; it counts in the check's time.
    """

    connect_v6: float = 3.0
    connect: float = 5.0
    read: float = 5.0
    hop: float = 10.0
    check: float = 12.0
    tls_alpn: float = 10.0
    busy: float = 2.0


@dataclass(frozen=True, slots=True)
class Presented:
    """What a TLS server showed: its `certificate` in DER and the `protocol` it chose by ALPN, "" for none."""

    protocol: str
    certificate: bytes


class ConnectFailed(CheckFailed):
    """No connection came about: the other address family may be tried."""


class NoAcmeTls(CheckFailed):
    """A TLS server is there, and says that it does not speak acme-tls/1."""


class GuardedDialer:
    """Connects to one address at a time.  The caller has policed the address."""

    def __init__(self, limits: DialLimits | None = None, per_network: int = PER_NETWORK) -> None:
        """`per_network` connections at once to one network."""
        self._limits = limits or DialLimits()
        self._networks = Places(per_network)
        self._https = _context()
        self._acme_tls = _context()
        self._acme_tls.set_alpn_protocols([ACME_TLS])
        # RFC 8737 section 3 asks nothing of the key; Debian's default would refuse RSA below 2048 bits.
        self._acme_tls.set_ciphers("DEFAULT:@SECLEVEL=0")

    @property
    def limits(self) -> DialLimits:
        """The limits in force."""
        return self._limits

    async def get(self, hop: Hop, address: Address, port: int, octets: int) -> Reply:
        """The answer to a GET of `hop` from `address` and `port`; of a 200's body at most `octets` octets.

        Raises: `ConnectFailed` when no connection came about, `CheckFailed` ("connection", "tls") after that;
        `TransientError` for a fault of ours.
        """
        where = f"{address} port {port}"
        octets_sent = request(hop)
        async with self._place(address):
            exchange = Exchange(asyncio.get_running_loop(), self._limits.read, octets)
            try:
                with _faults(where, "the answer"):
                    async with asyncio.timeout(self._limits.hop):
                        transport = await self._connect(exchange, address, port, where)
                        if hop.scheme == "https":
                            transport = await _secure(exchange, transport, self._https, hop.host)
                            exchange.connection_made(transport)
                        transport.write(octets_sent)
                        return await exchange.reply
            finally:
                exchange.end()

    async def handshake(self, server_name: str, address: Address, port: int) -> Presented:
        """What the TLS server at `address` and `port` shows to a client that offers acme-tls/1 alone.

        Nothing is sent on the connection, and nobody waits for its orderly end.  Raises: as `get`.
        """
        where = f"{address} port {port}"
        held = _Held()
        async with self._place(address):
            try:
                with _faults(where, "the TLS handshake"):
                    async with asyncio.timeout(self._limits.tls_alpn):
                        transport = await self._connect(held, address, port, where)
                        held.transport = transport = await _secure(
                            held, transport, self._acme_tls, server_name
                        )
                        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
                        # Without verification Python hands out the certificate as octets only.
                        return Presented(
                            tls.selected_alpn_protocol() or "", tls.getpeercert(binary_form=True) or b""
                        )
            finally:
                held.drop()

    @asynccontextmanager
    async def _place(self, address: Address) -> AsyncIterator[None]:
        """One of the few connections to the address's network.  Raises `TransientError`: others hold them."""
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._limits.busy):
                    await held.enter_async_context(self._networks.place(network(address)))
            except TimeoutError as error:
                raise TransientError(f"busy: too many connections to the network of {address}") from error
            yield

    async def _connect(
        self, protocol: asyncio.Protocol, address: Address, port: int, where: str
    ) -> asyncio.Transport:
        seconds = self._limits.connect_v6 if address.version == 6 else self._limits.connect
        try:
            async with asyncio.timeout(seconds):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: protocol, str(address), port, flags=socket.AI_NUMERICHOST
                )
        except TimeoutError as error:
            raise ConnectFailed("connection", f"{where}: timeout while connecting") from error
        except OSError as error:
            if error.errno in OURS:
                raise TransientError(f"this machine could not connect: {_reason(error)}") from error
            raise ConnectFailed("connection", f"{where}: {_reason(error)}") from error
        return transport


def network(address: Address) -> bytes:
    """What `PER_NETWORK` counts by: the /24 of IPv4 or the /48 of IPv6, the least that one site is given."""
    return address.packed[: 3 if address.version == 4 else 6]


class _Held(asyncio.Protocol):
    """A connection on which nothing is read."""

    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transports by duck typing only: an isinstance would say no.
        self.transport = cast(asyncio.Transport, transport)

    def drop(self) -> None:
        """End the connection at once, also within a handshake."""
        if self.transport is not None:
            self.transport.abort()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The certificate of a host that asks for a certificate cannot be expected to be valid.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _secure(
    protocol: asyncio.Protocol, transport: asyncio.Transport, context: ssl.SSLContext, server_name: str
) -> asyncio.Transport:
    secured = await asyncio.get_running_loop().start_tls(
        transport, protocol, context, server_hostname=server_name
    )
    if secured is None:
        raise ConnectionResetError("closed during the TLS handshake")
    return secured


@contextmanager
def _faults(where: str, awaited: str) -> Iterator[None]:
    """What befalls a connection, as the applicant's failure.  Raises `CheckFailed`."""
    try:
        yield
    except TimeoutError as error:
        raise CheckFailed("connection", f"{where}: timeout while waiting for {awaited}") from error
    except ssl.SSLEOFError as error:
        raise CheckFailed("connection", f"{where}: closed during the TLS handshake") from error
    except ssl.SSLError as error:
        kind = NoAcmeTls if _NO_PROTOCOL in str(error) else CheckFailed
        raise kind("tls", f"{where}: the TLS handshake failed ({_alert(error)})") from error
    except Unacceptable as error:
        raise CheckFailed("connection", f"{where}: {error}") from error
    except OSError as error:
        raise CheckFailed("connection", f"{where}: {_reason(error)}") from error


def _alert(error: ssl.SSLError) -> str:
    """What OpenSSL says, shortly.  Alert 120 has no reason of its own in Python 3.11."""
    if _NO_PROTOCOL in str(error):
        return f"the server says that it does not speak {ACME_TLS}: alert no_application_protocol"
    return (error.reason or "protocol error").lower().replace("_", " ")


def _reason(error: OSError) -> str:
    """A short reason that tells nothing about our own machine."""
    return os.strerror(error.errno).lower() if error.errno else error.__class__.__name__.lower()
