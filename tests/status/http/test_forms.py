"""The forms that clients really send (tests/vectors/ocsp_forms.toml), over a real socket."""

from __future__ import annotations

import asyncio
import base64
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes

from status.http.connection import Connection
from status.ocsp.answer import MALFORMED
from tests.support.wire import Pair, Pipe, request, settle

FORMS: dict[str, Any] = tomllib.loads(
    (Path(__file__).parents[2] / "vectors" / "ocsp_forms.toml").read_text(encoding="utf-8")
)
DER = request(algorithm=hashes.SHA1())
RAW = base64.b64encode(DER).decode()
B64 = quote(RAW, safe="")
URL = base64.urlsafe_b64encode(DER).decode()
VALUES = {
    "b64": B64,
    "raw": RAW,
    "slash": quote(RAW, safe="/"),
    "nopad": quote(RAW.rstrip("="), safe=""),
    "url": URL,
    "urlnopad": URL.rstrip("="),
    "twice": quote(B64, safe=""),
    "blank": B64.replace("%2B", "%20"),
    "lower": B64.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
    "length": str(len(DER)),
}
BODIES = {
    "": b"",
    "{der}": DER,
    "{chunked}": b"20\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (DER[:32], len(DER) - 32, DER[32:]),
}
GOOD = b"good" * 50


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    found = await Pair(tmp_path).start()
    yield found
    await found.stop()


def octets_of(form: dict[str, Any]) -> bytes:
    head = "".join(f"{line}\r\n" for line in form["request"]).format_map(VALUES)
    return head.encode() + b"\r\n" + BODIES[form.get("body", "")]


def test_the_vector_has_everything_that_must_be_escaped() -> None:
    assert {"+", "/", "="} <= set(RAW)


@pytest.mark.must("rfc6960.A.1.methods")
@pytest.mark.must("rfc9919.6.http")
@pytest.mark.clause("RFC 6960 appendix A.1")
@pytest.mark.clause("RFC 9919 section 6")
@pytest.mark.clause("BR 4.9.10")
@pytest.mark.parametrize("name", FORMS)
async def test_what_a_client_sends_has_its_answer(pair: Pair, name: str) -> None:
    form = FORMS[name]
    server = await asyncio.get_running_loop().create_server(pair.front, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(octets_of(form))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    if head.startswith(b"HTTP/1.1 100 "):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = next(
        int(each.split(b":")[1]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-len")
    )
    said = form["says"]
    assert int(head.split()[1]) == (said if isinstance(said, int) else 200)
    if not isinstance(said, int):
        body = await asyncio.wait_for(reader.readexactly(length), 10)
        assert body == (GOOD if said == "good" else MALFORMED.der)
    writer.close()
    await writer.wait_closed()
    server.close()


@pytest.mark.parametrize("name", FORMS)
async def test_the_table_tells_which_forms_our_own_protocol_answers(pair: Pair, name: str) -> None:
    pipe = Pipe(pair.front())
    pipe.send(octets_of(FORMS[name]))
    await settle()
    assert isinstance(pipe.protocol, Connection) is FORMS[name]["plain"]
    pipe.close()
    await settle()
