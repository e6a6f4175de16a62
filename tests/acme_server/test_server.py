"""acme_server/server.py, tls.py: listening, TLS, the access log."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from acme_server.access_log import AccessLog
from acme_server.http import Request, Response
from acme_server.server import Server, address
from acme_server.tls import DirectoryTls
from core.clock import FakeClock
from core.errors import ConfigurationError, Problem, TransientError
from core.randomness import SystemRandomness
from core.settings import Limits
from signer.api import Issued

DAY = 86400


class FakeVault:
    """A local-service issuer with a key of its own."""

    def __init__(self, clock: FakeClock) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local service")])
        self.serials: list[bytes] = []
        self.locked = False
        self._clock = clock

    @property
    def anchor(self) -> x509.Certificate:
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self.name, self.key.public_key(), b"\x01")
        builder = builder.add_extension(constraints, True).add_extension(usage, True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        return builder.add_extension(identifier, False).sign(self.key, hashes.SHA256())

    async def local_service(self, serial: bytes, public_key: bytes) -> Issued:
        if self.locked:
            raise TransientError("the vault is locked")
        self.serials.append(serial)
        key = serialization.load_der_public_key(public_key)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        builder = self._builder(x509.Name([]), key, serial)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), True)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, False)
        return Issued(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, serial: bytes
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(int.from_bytes(serial, "big"))
            .not_valid_before(now - datetime.timedelta(days=400))
            .not_valid_after(now + datetime.timedelta(days=3650))
        )


def directory_tls(
    vault: FakeVault, directory: Path, clock: FakeClock, names: Sequence[str] = ("localhost",)
) -> DirectoryTls:
    return DirectoryTls(vault, lambda issued: b"", directory / "tls", names, clock, SystemRandomness())


class Hello:
    """Answers everything alike."""

    async def answer(self, request: Request) -> Response:
        return Response(200, (), b"hello")

    def refuse(self, problem: Problem) -> Response:
        return Response(problem.status, (), b"refused")


def serving(
    tls: ssl.SSLContext | None = None, limits: Limits | None = None, listen: str = "127.0.0.1:0"
) -> Server:
    return Server(Hello(), [listen], tls, limits or Limits(), FakeClock(1_795_392_000), [].append)


async def ask(port: int, context: ssl.SSLContext) -> tuple[bytes, x509.Certificate]:
    """The answer to a GET, and the certificate that the server showed."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    octets = await reader.read()
    writer.close()
    await writer.wait_closed()
    return octets, shown


def trusting(vault: FakeVault) -> ssl.SSLContext:
    pem = vault.anchor.public_bytes(serialization.Encoding.PEM).decode()
    return ssl.create_default_context(cadata=pem)


@pytest.mark.clause("CPS 6.1.3")
@pytest.mark.must("rfc8555.6.1.https")
async def test_the_directory_is_served_over_tls_and_a_renewal_is_seen_by_the_next_connection(
    tmp_path: Path,
) -> None:
    clock = FakeClock(1_795_392_000)
    vault = FakeVault(clock)
    tls = directory_tls(vault, tmp_path, clock)
    await tls.renew()
    server = serving(tls.context)
    await server.start()
    try:
        serials = []
        for _ in range(2):
            octets, certificate = await ask(server.ports[0], trusting(vault))
            assert octets.endswith(b"hello")
            serials.append(certificate.serial_number)
            await tls.renew()
        assert serials == [int.from_bytes(serial, "big") for serial in vault.serials[:2]]
    finally:
        await server.close()


@pytest.mark.clause("CPS 6.1.3")
@pytest.mark.must("rfc8555.6.1.tls")
async def test_tls_older_than_1_2_is_refused(tmp_path: Path) -> None:
    clock = FakeClock(1_795_392_000)
    tls = directory_tls(FakeVault(clock), tmp_path, clock)
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_the_directorys_key_lies_on_disk_encrypted_and_for_its_owner_alone(tmp_path: Path) -> None:
    await directory_tls(FakeVault(FakeClock(1_795_392_000)), tmp_path, FakeClock(1_795_392_000)).renew()
    kept = tmp_path / "tls"
    assert sorted(path.name for path in kept.iterdir()) == ["identity.pem", "password"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.iterdir())
    assert b"ENCRYPTED PRIVATE KEY" in (kept / "identity.pem").read_bytes()


async def test_the_next_start_serves_with_the_kept_certificate_although_the_vault_is_locked(
    tmp_path: Path,
) -> None:
    clock = FakeClock(1_795_392_000)
    vault = FakeVault(clock)
    await directory_tls(vault, tmp_path, clock).start()
    vault.locked = True
    again = directory_tls(vault, tmp_path, clock)
    await again.start()
    assert again.usable.is_set()
    assert len(vault.serials) == 1
    server = serving(again.context)
    await server.start()
    try:
        _, certificate = await ask(server.ports[0], trusting(vault))
        assert certificate.serial_number == int.from_bytes(vault.serials[0])
    finally:
        await server.close()


async def test_a_first_start_with_a_locked_vault_waits_and_goes_on_when_it_opens(tmp_path: Path) -> None:
    clock = FakeClock(1_795_392_000)
    vault = FakeVault(clock)
    vault.locked = True
    tls = directory_tls(vault, tmp_path, clock)
    await tls.start()
    assert not tls.usable.is_set()
    renewing = asyncio.create_task(tls.keep_renewed())
    try:
        vault.locked = False
        tls.renew_if_due()
        async with asyncio.timeout(5):
            await tls.usable.wait()
    finally:
        renewing.cancel()


async def test_a_kept_certificate_for_other_names_or_that_does_not_open_is_not_used(tmp_path: Path) -> None:
    clock = FakeClock(1_795_392_000)
    vault = FakeVault(clock)
    await directory_tls(vault, tmp_path, clock).start()
    await directory_tls(vault, tmp_path, clock, names=("localhost", "other.localhost")).start()
    assert len(vault.serials) == 2
    (tmp_path / "tls" / "password").write_text("another")
    await directory_tls(vault, tmp_path, clock).start()
    assert len(vault.serials) == 3


async def test_a_clock_that_stepped_back_does_not_end_the_renewals(tmp_path: Path) -> None:
    clock = FakeClock(1_795_392_000)
    tls = directory_tls(FakeVault(clock), tmp_path, clock)
    await tls.renew()
    clock.at -= 3600
    renewing = asyncio.create_task(tls.keep_renewed())
    done, _ = await asyncio.wait([renewing], timeout=0.05)
    assert not done
    renewing.cancel()


async def test_an_address_in_use_is_told_with_the_remedy() -> None:
    first = serving()
    await first.start()
    try:
        second = serving(listen=f"127.0.0.1:{first.ports[0]}")
        with pytest.raises(ConfigurationError, match=r"change acme\.listen"):
            await second.start()
    finally:
        await first.close()


@asynccontextmanager
async def limited(limits: Limits) -> AsyncIterator[int]:
    """The port of a server with these limits."""
    server = serving(limits=limits)
    await server.start()
    try:
        yield server.ports[0]
    finally:
        await server.close()


async def test_a_connection_that_never_ends_its_request_is_closed() -> None:
    async with limited(Limits(request_timeout=0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: ")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_a_client_that_asks_and_never_reads_has_no_connection_for_ever() -> None:
    server = serving(limits=Limits(connections=1, request_timeout=1))
    await server.start()
    try:
        deaf = socket.create_connection(("127.0.0.1", server.ports[0]))
        with contextlib.suppress(OSError), deaf:
            deaf.settimeout(5)
            while True:  # until the server cuts it
                await asyncio.to_thread(deaf.sendall, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 5000)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 ")
        writer.close()
    finally:
        await server.close()


async def test_a_connection_beyond_the_limit_is_refused() -> None:
    async with limited(Limits(connections=1)) as port:
        _, first = await asyncio.open_connection("127.0.0.1", port)
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        first.close()
        second.close()


def test_listening_addresses_are_host_and_port() -> None:
    assert address("127.0.0.1:14000") == ("127.0.0.1", 14000)
    assert address("[::1]:14000") == ("::1", 14000)


@pytest.mark.parametrize("text", ["", "14000", ":14000", "localhost:", "localhost:https", "localhost:99999"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"acme\.listen"):
        address(text)


async def test_the_access_log_is_written_when_it_is_closed(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    log.open()
    log.add("GET /directory")
    log.close()
    assert (tmp_path / "access.log").read_text() == "GET /directory\n"


async def test_no_request_can_forge_a_line_of_the_access_log(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    log.open()
    log.add("GET / client\x85one more line\u2028and another\n")
    log.close()
    assert (tmp_path / "access.log").read_text() == "GET / client\\x85one more line\\u2028and another\\n\n"
