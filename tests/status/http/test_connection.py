"""status/http: what a connection may hold and how long, and what is shared between connections."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.settings import Limits
from status.http import connection, handed
from status.http.connection import IDLE_TIME, MAX_HEAD, REQUEST_TIME, WRITE_TIME
from status.http.plain import MAX_FIELDS, MEMO, fields
from tests.support.wire import GOOD, LIVE, Pair, Pipe, request, settle


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    (tmp_path / "index.html").write_bytes(b"index")
    found = await Pair(tmp_path, Limits(connections=4, connections_address=2)).start()
    yield found
    await found.stop()


def post(serial: int = GOOD, more: bytes = b"") -> bytes:
    body = request(serial)
    return (
        b"POST /ocsp HTTP/1.1\r\nHost: ca.example\r\nContent-Type: application/ocsp-request\r\n" + more
        + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )  # fmt: skip


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_one_address_may_hold_so_many_connections_and_all_together_so_many(pair: Pair) -> None:
    first = [Pipe(pair.front(), "192.0.2.1") for _ in range(3)]
    assert [each.closed for each in first] == [False, False, True]
    await settle()
    others = [Pipe(pair.front(), f"192.0.2.{number}") for number in range(2, 6)]
    await settle()
    assert [each.closed for each in others] == [False, False, True, True]
    first[0].close()
    await settle()
    assert not Pipe(pair.front(), "192.0.2.1").closed


async def test_connections_of_this_machine_are_counted_only_in_all(pair: Pair) -> None:
    assert [Pipe(pair.front(), "127.0.0.1").closed for _ in range(5)] == [False] * 4 + [True]


async def test_a_connection_that_was_handed_over_still_counts_and_ends(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    pipe.send(b"HEAD /ocsp/AAAA HTTP/1.1\r\nHost: ca.example\r\n\r\n")
    await settle()
    assert isinstance(pipe.protocol, handed.Handed)
    assert len(pair.front) == 1
    pipe.close()
    await settle()
    assert len(pair.front) == 0


@pytest.mark.clause("RFC 9112 section 9.5")
async def test_a_request_has_its_time_from_its_first_octet_to_its_last(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    whole = post()
    pipe.send(whole[:1])
    deadline = pipe.protocol.deadline
    assert deadline == pytest.approx(now() + REQUEST_TIME, abs=1)
    for octet in whole[1:-1]:
        pipe.send(bytes([octet]))
    assert pipe.protocol.deadline == deadline  # however often something comes
    pipe.send(whole[-1:])
    await settle()
    assert pipe.protocol.deadline == pytest.approx(now() + IDLE_TIME, abs=1)


async def test_a_connection_whose_time_is_over_is_cut(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("status.http.front.LOOK", 0)
    over, other = Pipe(pair.front()), Pipe(pair.front())
    over.protocol.deadline = now()
    looking = asyncio.create_task(pair.front.look())
    await settle()
    looking.cancel()
    assert over.aborted
    assert not other.closed


async def test_a_head_without_an_end_is_refused(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    pipe.send(b"GET /ocsp/AAAA HTTP/1.1\r\nX: " + b"x" * MAX_HEAD)
    await settle()
    assert pipe.written.startswith(b"HTTP/1.1 431 ")
    assert pipe.closed


async def test_a_head_that_is_too_long_is_refused_in_one_packet_as_in_many(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    pipe.send(post() + post(more=b"X: " + b"x" * MAX_HEAD + b"\r\n"))
    await settle()
    assert pipe.written.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 431 " in pipe.written
    assert pipe.closed


@pytest.mark.parametrize("field", [b"X:" + b" \t" * 7000 + b"\0", b"x" * 14000, b"X:" + b"x" * 14000 + b"\0"])
def test_a_block_that_is_not_plain_is_seen_in_one_pass(field: bytes) -> None:
    block = field + b"\r\n"
    before = time.process_time()
    for _ in range(20):
        assert fields(block) is None
    assert time.process_time() - before < 1  # 100 ms; it took seconds once, for each


async def test_while_the_vault_signs_nothing_more_is_read_and_then_all_is_answered_in_order(
    pair: Pair,
) -> None:
    pair.answers.gate = asyncio.Event()
    pipe = Pipe(pair.front())
    pipe.send(post(LIVE) + post())
    await settle()
    assert pipe.written == b""
    assert not pipe.reading
    assert pipe.protocol.deadline == pytest.approx(now() + WRITE_TIME, abs=1)
    pair.answers.gate.set()
    await settle()
    assert pipe.reading
    assert pipe.written.index(b"livelive") < pipe.written.index(b"goodgood")


async def test_the_signature_is_counted_for_the_peers_block(pair: Pair) -> None:
    await settle()
    for peer in ("2001:db8::1:2:3", "192.0.2.1", "127.0.0.1"):
        Pipe(pair.front(), peer).send(post(LIVE))
        await settle()
    assert pair.answers.asked == ["2001:db8::/64", "192.0.2.1", None]


async def test_a_client_that_leaves_while_the_vault_signs_leaves_nothing_behind(pair: Pair) -> None:
    pair.answers.gate = asyncio.Event()
    pipe = Pipe(pair.front())
    pipe.send(post(LIVE))
    await settle()
    pipe.close()
    await settle()
    pair.answers.gate.set()
    await settle()
    assert pipe.written == b""
    assert len(pair.front) == 0


async def test_of_a_client_that_does_not_read_nothing_more_is_read(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    pipe.protocol.pause_writing()
    assert not pipe.reading
    pipe.send(post())
    assert pipe.written == b""
    assert pipe.protocol.deadline == pytest.approx(now() + WRITE_TIME, abs=1)
    pipe.protocol.resume_writing()
    await settle()
    assert pipe.written.endswith(b"good")
    assert pipe.reading


async def test_after_so_many_requests_the_connection_ends(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_REQUESTS", 3)
    pipe = Pipe(pair.front())
    pipe.send(post() * 5)
    await settle()
    assert pipe.written.count(b"HTTP/1.1 200") == 3
    assert pipe.written.count(b"Connection: close") == 1
    assert pipe.closed


async def test_what_is_remembered_of_clients_is_bounded(pair: Pair) -> None:
    pipe = Pipe(pair.front())
    for number in range(MEMO + 10):
        pipe.send(post(more=b"X: %d\r\n" % number))
        await asyncio.sleep(0)
    assert 0 < len(pair.front.heads) <= MEMO
    assert pipe.written.count(b"HTTP/1.1 200") == MEMO + 10


async def test_a_responder_that_fails_at_hand_is_asked_again_and_waited_for(pair: Pair) -> None:
    ready = pair.answers.at_hand
    failing = iter([True])

    def once(asked: object) -> object:
        if next(failing, False):
            raise OSError("the index is gone")
        return ready(asked)  # type: ignore[arg-type]

    pair.answers.at_hand = once  # type: ignore[assignment,method-assign]
    pipe = Pipe(pair.front())
    pipe.send(post())
    await settle()
    assert pipe.written.endswith(b"good")


def test_too_many_fields_are_not_plain() -> None:
    assert fields(b"X: y\r\n" * MAX_FIELDS) is not None
    assert fields(b"X: y\r\n" * (MAX_FIELDS + 1)) is None


async def test_over_a_real_socket_a_file_follows_an_answer_on_one_connection(pair: Pair) -> None:
    bound = handed.listening("127.0.0.1:0")
    assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == handed.UNREAD
    server = await asyncio.get_running_loop().create_server(pair.front, sock=bound)
    reader, writer = await asyncio.open_connection(*bound.getsockname())
    writer.write(post() + b"GET / HTTP/1.1\r\nHost: ca.example\r\nConnection: close\r\n\r\n")
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    server.close()
    assert said.count(b"HTTP/1.1 200 OK") == 2
    assert b"goodgood" in said
    assert said.endswith(b"index")
