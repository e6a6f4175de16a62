"""core/caller.py: who asks, by the kernel's word; real uids of real processes."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from core import caller
from core.rpc import Method, RpcServer

DAEMON, BIN, NOT_IN_PASSWD = 1, 2, 54_321
"""Users that every Debian has, and one that no machine has."""

ASKS = """
import os, socket, sys
path, uid, login, frame = sys.argv[1], int(sys.argv[2]), sys.argv[3], bytes.fromhex(sys.argv[4])
if login:
    with open("/proc/self/loginuid", "w") as file:
        file.write(login)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(path)
    sock.sendall(frame)
    sock.recv(1)
"""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def loginuid_can_be_set() -> bool:
    """A kernel with audit, a session that has none yet, and CAP_AUDIT_CONTROL."""
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo 1 2>&- > /proc/self/loginuid"], os.environ)
    return os.waitpid(pid, 0)[1] == 0


@dataclass(frozen=True, slots=True)
class Ask:
    word: str
    actor: str


@dataclass(frozen=True, slots=True)
class Told:
    actor: str


ACT = Method("act", Ask, Told)


class Socket:
    """A server's socket that any user reaches, and what its handler was told of each caller."""

    def __init__(self, path: Path, actors: list[str]) -> None:
        self._path = path
        self._actors = actors

    async def actor_of(self, uid: int, claim: str, login: str = "") -> str:
        """Who the handler takes a process of `uid` for that says it is `claim`."""
        body = msgspec.msgpack.encode([1, ACT.name, Ask("x", claim)])
        frame = struct.pack(">I", len(body)) + body
        words = [str(self._path), str(uid), login, frame.hex()]
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", ASKS, *words)
        assert await child.wait() == 0
        return self._actors[-1]


@pytest.fixture
async def socket() -> AsyncIterator[Socket]:
    actors: list[str] = []

    async def act(ask: Ask) -> Told:
        actors.append(ask.actor)
        return Told(ask.actor)

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        server = RpcServer()
        server.add(ACT, act)
        await server.listen(Path(directory) / "s", mode=0o666)
        yield Socket(Path(directory) / "s", actors)
        await server.close()


@root_only
@pytest.mark.clause("BR 5.4.1")
@pytest.mark.clause("CPS 5.2.3")
async def test_a_handler_is_told_the_kernels_user_whatever_the_caller_says(socket: Socket) -> None:
    assert await socket.actor_of(DAEMON, "daemon") == "daemon (uid 1)"
    assert await socket.actor_of(DAEMON, "root") == 'daemon (uid 1), who says "root"'
    assert await socket.actor_of(NOT_IN_PASSWD, "daemon") == 'uid 54321, who says "daemon"'
    assert await socket.actor_of(DAEMON, "") == "daemon (uid 1)"


@root_only
async def test_two_names_of_one_uid_are_one_person(socket: Socket) -> None:
    ann, bob = await socket.actor_of(DAEMON, "ann"), await socket.actor_of(DAEMON, "bob")
    assert [each.split(",")[0] for each in (ann, bob)] == ["daemon (uid 1)"] * 2


@root_only
@pytest.mark.skipif(not loginuid_can_be_set(), reason="this kernel or container keeps no login uid")
async def test_behind_sudo_the_login_that_the_kernel_kept_is_told(socket: Socket) -> None:
    told = "root (uid 0), logged in as daemon (uid 1)"
    assert await socket.actor_of(0, "daemon", login=str(DAEMON)) == told
    assert await socket.actor_of(0, "bin", login=str(DAEMON)) == f'{told}, who says "bin"'
    assert await socket.actor_of(BIN, "bin", login=str(BIN)) == "bin (uid 2)"


@pytest.mark.parametrize(
    ("claim", "written"),
    [
        ('x", logged in as root (uid 0), who says "y', "x, logged in as root (uid 0), who says y"),
        ("two\nlines\x1b[2J", "twolines[2J"),
        ("a" * 1000, "a" * caller.MAX_CLAIM),
    ],
)
def test_a_claim_cannot_leave_its_quotation_marks(claim: str, written: str) -> None:
    assert caller.named(NOT_IN_PASSWD, 0, claim) == f'uid 54321, who says "{written}"'


@pytest.mark.parametrize(
    ("environment", "claim"),
    [
        ({"LOGNAME": "ann"}, "ann"),
        ({"LOGNAME": "root", "SUDO_USER": "ann"}, "ann"),
        ({}, ""),
    ],
)
def test_a_command_claims_what_its_environment_says_and_works_without_one(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], claim: str
) -> None:
    for name in ("LOGNAME", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert caller.claimed() == claim
