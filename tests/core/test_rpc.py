"""core/rpc.py: typed calls between our own processes."""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import HaltIssuance, Refused, TransientError
from core.rpc import MAX_FRAME, Method, Peer, RpcClient, RpcServer


@dataclass(frozen=True, slots=True)
class Ask:
    word: str
    octets: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    word: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Other:
    number: int


ECHO = Method("echo", Ask, Reply)
FAIL = Method("fail", Ask, Reply)
SLOW = Method("slow", Ask, Reply)
ECHO_MISUSED = Method("echo", Other, Reply)
UNKNOWN = Method("unknown", Ask, Reply)


async def echo(ask: Ask) -> Reply:
    return Reply(ask.word, ask.octets)


async def fail(ask: Ask) -> Reply:
    raise {
        "refused": Refused("rule.no", "the rule says no"),
        "transient": TransientError("come back later"),
        "halt": HaltIssuance("a person must look"),
        "bug": RuntimeError("a secret of the inside"),
    }[ask.word]


async def slow(ask: Ask) -> Reply:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RpcServer]:
    server = RpcServer(allow=lambda peer, method: method != "forbidden")
    server.add(ECHO, echo)
    server.add(FAIL, fail)
    server.add(SLOW, slow)
    server.add(Method("forbidden", Ask, Reply), echo)
    await server.listen(tmp_path / "s")
    yield server
    await server.close()


@pytest.fixture
async def client(server: RpcServer, tmp_path: Path) -> AsyncIterator[RpcClient]:
    client = RpcClient(tmp_path / "s")
    yield client
    await client.close()


async def test_a_call_returns_the_typed_result(client: RpcClient) -> None:
    assert await client.call(ECHO, Ask("hello", b"\x00\xff")) == Reply("hello", b"\x00\xff")


async def test_many_calls_at_once_get_each_their_own_answer(client: RpcClient) -> None:
    replies = await asyncio.gather(*(client.call(ECHO, Ask(str(n))) for n in range(500)))
    assert [reply.word for reply in replies] == [str(n) for n in range(500)]


async def test_a_large_body_crosses_in_pieces(client: RpcClient) -> None:
    octets = b"x" * (5 * 1024 * 1024)
    assert (await client.call(ECHO, Ask("large", octets))).octets == octets


@pytest.mark.parametrize(
    ("word", "error"), [("refused", Refused), ("transient", TransientError), ("halt", HaltIssuance)]
)
async def test_the_error_families_cross_the_socket(
    client: RpcClient, word: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await client.call(FAIL, Ask(word))


async def test_a_refusal_keeps_its_code_and_detail(client: RpcClient) -> None:
    with pytest.raises(Refused) as caught:
        await client.call(FAIL, Ask("refused"))
    assert (caught.value.code, caught.value.detail) == ("rule.no", "the rule says no")


async def test_a_bug_in_the_server_tells_the_caller_nothing_of_the_inside(client: RpcClient) -> None:
    with pytest.raises(TransientError) as caught:
        await client.call(FAIL, Ask("bug"))
    assert "secret" not in str(caught.value)


async def test_parameters_of_another_shape_are_refused(client: RpcClient) -> None:
    with pytest.raises(Refused, match=r"rpc\.malformed"):
        await client.call(ECHO_MISUSED, Other(1))


async def test_an_unknown_method_is_refused(client: RpcClient) -> None:
    with pytest.raises(Refused, match=r"rpc\.unknown"):
        await client.call(UNKNOWN, Ask(""))


async def test_a_peer_that_may_not_call_is_refused(client: RpcClient) -> None:
    with pytest.raises(Refused, match=r"rpc\.forbidden"):
        await client.call(Method("forbidden", Ask, Reply), Ask(""))


async def test_the_kernel_says_who_the_peer_is(tmp_path: Path) -> None:
    peers: list[Peer] = []

    def allow(peer: Peer, method: str) -> bool:
        peers.append(peer)
        return True

    server = RpcServer(allow)
    server.add(ECHO, echo)
    await server.listen(tmp_path / "s")
    client = RpcClient(tmp_path / "s")
    await client.call(ECHO, Ask(""))
    await client.close()
    await server.close()
    assert peers == [Peer(os.getpid(), os.getuid(), os.getgid())]


async def test_nobody_listening_is_transient_and_a_server_that_comes_back_is_found(tmp_path: Path) -> None:
    client = RpcClient(tmp_path / "s")
    with pytest.raises(TransientError):
        await client.call(ECHO, Ask(""))
    server = RpcServer()
    server.add(ECHO, echo)
    await server.listen(tmp_path / "s")
    assert (await client.call(ECHO, Ask("now"))).word == "now"
    await client.close()
    await server.close()


async def test_a_server_that_goes_away_fails_the_calls_under_way_as_transient(
    server: RpcServer, client: RpcClient
) -> None:
    await client.call(ECHO, Ask(""))
    waiting = asyncio.create_task(client.call(SLOW, Ask("")))
    await client.call(ECHO, Ask(""))
    await server.close()
    with pytest.raises(TransientError):
        await waiting


async def test_no_answer_in_time_is_transient(server: RpcServer, tmp_path: Path) -> None:
    client = RpcClient(tmp_path / "s", timeout=0.05)
    with pytest.raises(TransientError, match="no answer"):
        await client.call(SLOW, Ask(""))
    await client.close()


async def test_a_frame_that_claims_too_much_ends_the_connection(server: RpcServer, tmp_path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    writer.write(struct.pack(">I", MAX_FRAME + 1))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await reader.readexactly(1)
    writer.close()


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x93\x01\x02\x03", b"nonsense" * 9])
async def test_a_frame_that_is_no_request_ends_that_connection_only(
    server: RpcServer, client: RpcClient, tmp_path: Path, frame: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    writer.write(struct.pack(">I", len(frame)) + frame)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await reader.readexactly(1)
    writer.close()
    assert (await client.call(ECHO, Ask("still here"))).word == "still here"


@pytest.mark.clause("BR 5.4.1")
async def test_who_is_refused_is_recorded_before_the_answer_and_once(tmp_path: Path) -> None:
    recorded: list[str] = []

    async def record(peer: Peer, method: str) -> None:
        recorded.append(f"{peer.uid} {method}")

    server = RpcServer(lambda peer, method: False, record)
    server.add(ECHO, echo)
    await server.listen(tmp_path / "s")
    client = RpcClient(tmp_path / "s")
    for _ in range(2):
        with pytest.raises(Refused, match=r"rpc\.forbidden"):
            await client.call(ECHO, Ask(""))
        assert recorded == [f"{os.getuid()} echo"]
    await client.close()
    await server.close()


async def test_the_socket_is_made_with_the_given_mode(tmp_path: Path) -> None:
    server = RpcServer()
    await server.listen(tmp_path / "s", mode=0o600)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    await server.close()


TAKER = """
import socket
listening = socket.socket(socket.AF_UNIX)
listening.bind("taken")
listening.listen()
print("ready", flush=True)
connection, _ = listening.accept()
print(len(connection.recv(100)), flush=True)
"""


@pytest.mark.clause("CPS 6.5")
@pytest.mark.skipif(os.geteuid() != 0, reason="another user's process takes root")
async def test_a_socket_that_another_user_took_is_told_nothing(server: RpcServer, tmp_path: Path) -> None:
    """The other user is one of our own processes', taken over."""
    ours = RpcClient(tmp_path / "s", owner=tmp_path)
    assert await ours.call(ECHO, Ask("a")) == Reply("a", b"")
    await ours.close()
    with tempfile.TemporaryDirectory() as shared:  # pytest's own are closed to others
        os.chmod(shared, 0o777)
        taker = await asyncio.create_subprocess_exec(
            *("/usr/bin/env", "python3", "-c", TAKER),
            stdout=asyncio.subprocess.PIPE,
            cwd=shared,
            user=65534,
            group=65534,
        )
        assert taker.stdout is not None
        assert await taker.stdout.readline() == b"ready\n"
        theirs = RpcClient(Path(shared) / "taken", owner=tmp_path)
        with pytest.raises(TransientError, match="not answered by its process"):
            await theirs.call(ECHO, Ask("secret"))
        assert await taker.stdout.readline() == b"0\n"
        await taker.wait()
