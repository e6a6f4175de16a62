from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from core.clock import SystemClock
from operations.subscriber import front as under_test
from operations.subscriber.front import Front
from tests.support.tls import ALPN, KEY, certificate, context, der, names
from validation.challenge import Challenge
from validation.methods import tls_alpn01

HOST = "valid-ec.test.example"


@pytest.fixture
def shown() -> dict[str, ssl.SSLContext]:
    return {HOST: context(der(certificate(names(HOST))), KEY, ("http/1.1",))}


@pytest.fixture
async def front(shown: dict[str, ssl.SSLContext]) -> AsyncIterator[Front]:
    async def serve(host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{host} says {(await reader.readline()).decode()}".encode())

    made = Front(shown.get, serve, SystemClock())
    await made.listen(["127.0.0.1:0"])
    yield made
    await made.close()


async def visit(front: Front, host: str, protocol: str) -> tuple[bytes, str | None, bytes]:
    """The certificate (DER), the chosen protocol and what was said."""
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols([protocol])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", front.ports[0], ssl=client, server_hostname=host
    )
    tls = writer.get_extra_info("ssl_object")
    writer.write(b"hello\n")
    said = await reader.read()
    writer.close()
    return tls.getpeercert(True), tls.selected_alpn_protocol(), said


@pytest.mark.clause("RFC 8737 section 3")
async def test_while_a_challenge_is_answered_only_acme_tls_sees_it(front: Front) -> None:
    async with front.answered("tls-alpn-01", HOST, "token", "token.thumbprint"):
        seen, protocol, said = await visit(front, HOST, ALPN)
        assert (protocol, said) == (ALPN, b"")
        _answers(seen, "token.thumbprint")
        _, protocol, said = await visit(front, HOST, "http/1.1")
        assert (protocol, said) == ("http/1.1", f"{HOST} says hello\n".encode())


def _answers(shown: bytes, key_authorization: str) -> None:
    """By the CA's own judgement."""

    class Asked:
        name = HOST
        digest = hashlib.sha256(key_authorization.encode()).digest()

    tls_alpn01.judge(shown, cast(Challenge, Asked()))


async def test_without_a_challenge_acme_tls_gets_nothing(front: Front) -> None:
    async with front.answered("tls-alpn-01", HOST, "token", "token.thumbprint"):
        pass
    with pytest.raises(OSError):
        await visit(front, HOST, ALPN)


@pytest.mark.parametrize("host", ["other.test.example", "localhost"])
async def test_a_host_that_is_not_ours_gets_nothing(front: Front, host: str) -> None:
    with pytest.raises(OSError):
        await visit(front, host, "http/1.1")


async def test_a_visitor_who_says_nothing_holds_no_place_for_long(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "HELLO_SECONDS", 0.1)
    silent = [await asyncio.open_connection("127.0.0.1", front.ports[0]) for _ in range(3)]
    for reader, writer in silent:
        assert await reader.read() == b""
        writer.close()
    assert (await visit(front, HOST, "http/1.1"))[2]


async def test_octets_that_are_no_tls_are_hung_up_on(front: Front) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front.ports[0])
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


def test_the_challenges_key_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    under_test._challenge(HOST, "token.thumbprint", SystemClock().now())
    assert list(tmp_path.iterdir()) == []
