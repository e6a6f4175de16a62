"""TLS servers on loopback for validation's tests, and the certificates that they show, right and wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"
ALPN = "acme-tls/1"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def names(*values: str) -> tuple[x509.GeneralName, ...]:
    """Names and addresses as a subjectAltName holds them; "@" in a value makes it an e-mail address."""
    return tuple(map(_general_name, values))


def _general_name(value: str) -> x509.GeneralName:
    if "@" in value:
        return x509.RFC822Name(value)
    try:
        return x509.IPAddress(ip_address(value))
    except ValueError:
        return x509.DNSName(value)


def acme_identifier(digest: bytes, oid: str = ACME_IDENTIFIER) -> x509.UnrecognizedExtension:
    """The extension with an OCTET STRING of `digest`."""
    return octets(bytes([4, len(digest)]) + digest, oid)


def octets(value: bytes, oid: str = ACME_IDENTIFIER) -> x509.UnrecognizedExtension:
    """An extension of any value."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def certificate(
    san: Iterable[x509.GeneralName],
    *extensions: tuple[x509.ExtensionType, bool],
    key: Key = KEY,
    signed_by: Key | None = None,
    subject: str = "acme",
    issuer: str | None = None,
    age: int = 0,
) -> x509.Certificate:
    """A certificate of one day that began `age` days ago; self-signed unless `signed_by` says otherwise."""
    since = datetime.now(UTC) - timedelta(days=age)
    builder = x509.CertificateBuilder(
        _name(issuer or subject), _name(subject), key.public_key(), 1, since, since + timedelta(days=1)
    )
    san = tuple(san)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signed_by or key, algorithm)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def der(shown: x509.Certificate) -> bytes:
    """The octets of a certificate."""
    return shown.public_bytes(serialization.Encoding.DER)


def pem(shown: bytes, key: Key) -> bytes:
    """A certificate (DER) and its key, as servers load them."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + ssl.DER_cert_to_PEM_cert(shown).encode("ascii")


def context(shown: bytes, key: Key = KEY, alpn: tuple[str, ...] = (ALPN,)) -> ssl.SSLContext:
    """A server that shows the certificate (DER), however weak, and speaks `alpn`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    with TemporaryDirectory() as directory:
        file = Path(directory) / "server.pem"
        file.write_bytes(pem(shown, key))
        made.load_cert_chain(file)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


class TlsServer:
    """Shakes hands and reads on: `asked` are the server names that came, `read` what came afterwards."""

    def __init__(self, tls: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0) -> None:
        self._tls = tls
        self._host = host
        self.port = port
        self.asked: list[str | None] = []
        self.read = b""
        self._tls.sni_callback = self._sni

    async def __aenter__(self) -> TlsServer:
        self._server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _sni(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.asked.append(name)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.read += await reader.read()
        except OSError:
            pass
        finally:
            writer.close()


class RawServer:
    """Answers a ClientHello (`hello`) with `pieces` of octets, slowly, and then waits, closes or resets."""

    def __init__(self, pieces: Iterable[bytes], then: str = "wait") -> None:
        self._pieces = pieces
        self._then = then
        self.hello = b""
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            self.hello = await reader.read(4096)
            for piece in self._pieces:
                writer.write(piece)
                await asyncio.sleep(0.02)
            if self._then == "wait":
                await reader.read()
            elif self._then == "reset":
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
