"""A real redis-server of the test's own, on a socket or a loopback port: killed, hung, started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import settings
from core.ephemeral.redis.secret import NonceSecret
from tests.world.addresses import free_port

START_SECONDS = 20
PATIENCE = 20

SECRET = NonceSecret(b"the secret that all hosts of a test share")

LOSES_ALL = ("--save", "")
APPENDS_EVERY_SECOND = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
APPENDS_ALWAYS = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


class RedisServer:
    """`options` are those of redis-server; its data are below `directory`."""

    def __init__(self, directory: Path, options: tuple[str, ...] = LOSES_ALL, *, tcp: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.options = options
        self.port = free_port() if tcp else 0
        self.socket = directory / "s"
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> settings.Redis:
        """How the CA is told of it; the time limit is long, since the machine may be busy."""
        return settings.Redis(url=self.url, timeout=PATIENCE)

    @property
    def url(self) -> str:
        """By its socket, or by its port if it has one."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    def start(self) -> RedisServer:
        """Start it and wait until it has loaded its data."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "redis-server",
                    *("--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--unixsocket", str(self.socket), "--dir", str(self.directory)),
                    *("--repl-diskless-sync-delay", "0"),
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                if self.ask("PING").startswith(("+PONG", "-NOAUTH")):
                    return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(self.log.read_text())
            time.sleep(0.01)

    def ask(self, *words: str) -> str:
        """The first line of the answer to a command, as it is on the wire."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            octets = [each.encode() for each in words]
            request = b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in octets)
            connection.sendall(b"*%d\r\n%s" % (len(octets), request))
            with connection.makefile("rb") as answer:
                line = answer.readline().decode().strip()
                return answer.read(int(line[1:])).decode() if line.startswith("$") and line != "$-1" else line

    def fact(self, section: str, name: str) -> str:
        """A line of INFO."""
        [line] = (each for each in self.ask("INFO", section).splitlines() if each.startswith(name + ":"))
        return line.partition(":")[2]

    def offset(self) -> int:
        """How much of the replication stream it has sent, or got."""
        role = self.fact("replication", "role")
        return int(self.fact("replication", "slave_repl_offset" if role == "slave" else "master_repl_offset"))

    def calls(self, command: str = "evalsha") -> int:
        """How often a command was given to it."""
        lines = self.ask("INFO", "commandstats").splitlines()
        return sum(
            int(each.split("calls=")[1].split(",")[0]) for each in lines if f"cmdstat_{command}:" in each
        )

    def block(self) -> str:
        """The key of the block of nonces, of which there is one."""
        [key] = set(self.keys("*:nonces:*")) - {self.epoch()}
        return key

    def epoch(self) -> str:
        """The key of the epoch of nonces."""
        [key] = self.keys("*:nonces:epoch")
        return key

    def keys(self, pattern: str) -> list[str]:
        """The keys that match."""
        found = self.ask("EVAL", "return table.concat(redis.call('KEYS', ARGV[1]), '\\n')", "0", pattern)
        return [each for each in found.splitlines() if not each.startswith("kept:")]

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as a service manager stops it."""
        self._end(signal.SIGTERM)

    def hang(self) -> None:
        """It keeps its connections and answers nothing, until `go_on`."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """The end of `hang`."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(by)
        self.process.wait(START_SECONDS)


@contextmanager
def running(
    directory: Path, options: tuple[str, ...] = LOSES_ALL, *, tcp: bool = False
) -> Iterator[RedisServer]:
    """A server that is there while the block runs."""
    server = RedisServer(directory, options, tcp=tcp).start()
    try:
        yield server
    finally:
        server.kill()


async def eventually(condition: object, seconds: float = 20) -> None:
    """Wait until `condition()` is true."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
