"""A TLS port that answers tls-alpn-01 for its own names and shows visitors the sites' pages.

The ClientHello is looked at before a handshake begins: whoever asks for acme-tls/1 gets the challenge's
certificate while there is a challenge, everybody else the site's.  So a renewal disturbs no visitor.

Must never: answer a challenge that is over; hold more than `CONNECTIONS`; wait for a visitor without end.

RFC 8737; RFC 8446.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import Clock
from operations.subscriber import hello

ACME_TLS = "acme-tls/1"

CONNECTIONS = 200
"""At once, from the first octet to the last."""

HELLO_SECONDS = 5.0
HANDSHAKE_SECONDS = 10.0
VISIT_SECONDS = 15.0
"""For a page, after the handshake."""

_LOOK_AGAIN = 0.02
"""Seconds between two looks at a ClientHello that comes in pieces."""

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
Serve = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Answers one visitor of a host; the connection is closed afterwards."""

_log = logging.getLogger(__name__)


class Front:
    """Listens; `site` gives a host's TLS context (None: no such site now), `serve` shows its page.

    Is an `operations.subscriber.order.Answering`.
    """

    methods: Sequence[str] = ("tls-alpn-01",)

    def __init__(
        self,
        site: Callable[[str], ssl.SSLContext | None],
        serve: Serve,
        clock: Clock,
    ) -> None:
        self._site = site
        self._serve = serve
        self._clock = clock
        self._challenges: dict[str, ssl.SSLContext] = {}
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._visits: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(CONNECTIONS)

    async def listen(self, addresses: Sequence[str]) -> None:
        """Serve on all of `addresses` ("host:port")."""
        for address in addresses:
            host, _, port = address.rpartition(":")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            opened = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=128)
            opened.setblocking(False)
            self._sockets.append(opened)
            self._accepting.append(asyncio.create_task(self._accept(opened)))

    @property
    def ports(self) -> list[int]:
        """Where it listens."""
        return [each.getsockname()[1] for each in self._sockets]

    async def close(self) -> None:
        """Stop listening; visits under way end."""
        for task in (*self._accepting, *self._visits):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._visits, return_exceptions=True)
        for each in self._sockets:
            each.close()

    @contextlib.asynccontextmanager
    async def answered(
        self, method: str, name: str, token: str, key_authorization: str
    ) -> AsyncIterator[None]:
        """While this is entered, `name` shows the certificate of RFC 8737 section 3 to acme-tls/1."""
        self._challenges[name] = _challenge(name, key_authorization, self._clock.now())
        try:
            yield
        finally:
            del self._challenges[name]

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors, or a visitor that left at once
                self._places.release()
                _log.warning("no visitor could be let in: %s", error)
                await asyncio.sleep(1)
                continue
            except asyncio.CancelledError:
                self._places.release()
                raise
            visit = asyncio.create_task(self._visit(connection))
            self._visits.add(visit)
            visit.add_done_callback(self._left)

    def _left(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        self._places.release()

    async def _visit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                asked = await _peek(connection)
            challenge = ACME_TLS in asked.protocols
            context = self._challenges.get(asked.host) if challenge else self._site(asked.host)
            if context is not None:
                await self._meet(connection, context, "" if challenge else asked.host)
        except (hello.NotTls, TimeoutError, OSError, ssl.SSLError):
            pass  # a stranger who cannot speak TLS, or went: nobody's business
        finally:
            connection.close()

    async def _meet(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Shake hands and show the page of `host`; "" shows nothing, as the handshake was the answer."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=8192, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            async with asyncio.timeout(VISIT_SECONDS):
                if host:
                    await self._serve(host, reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            transport.abort()


async def _peek(connection: socket.socket) -> hello.Hello:
    """The ClientHello, left where it is.  Raises `hello.NotTls`, OSError."""
    while True:
        try:
            octets = connection.recv(hello.MOST + 1024, socket.MSG_PEEK)
        except BlockingIOError:
            octets = None
        if octets == b"":
            raise hello.NotTls("nothing was said")
        found = hello.read(octets) if octets else None
        if found is not None:
            return found
        await asyncio.sleep(_LOOK_AGAIN)


def _challenge(name: str, key_authorization: str, now: int) -> ssl.SSLContext:
    """A server for the one handshake of RFC 8737 section 3."""
    key = ec.generate_private_key(ec.SECP256R1())
    digest = hashlib.sha256(key_authorization.encode()).digest()
    since = datetime.fromtimestamp(now, UTC) - timedelta(days=1)
    subject = x509.Name([])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + timedelta(days=8))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ACME_TLS])
    with TemporaryDirectory() as directory:  # `ssl` loads from files only; this key signs nothing else
        file = Path(directory) / "challenge.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)
    return context
