"""The Unbound of this perspective: started, watched and ended as a child of this process.

It listens on a loopback port that is new at each start, and is believed only once the kernel says that the
port is the child's own: another user of the machine who took it first could answer in its place.  While it is
away nothing is asked, and every look-up is a fault of ours.

Must never: leave an Unbound behind, whatever ends this process (the kernel kills it: PR_SET_PDEATHSIG); share
one with another perspective (BR 3.2.2.9).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import ConfigurationError, TransientError
from core.randomness import Randomness
from validation.resolver import Answer, LookupFailure, StubResolver, Type, Upstream
from validation.verdict import printable

HOST = "127.0.0.1"

START_SECONDS = 20.0
"""To answer the first question; it takes some hundredths on an idle machine."""

STOP_SECONDS = 3.0
PROBE_SECONDS = 0.25

FIRST_DELAY = 0.25
LONGEST_DELAY = 15.0
"""Seconds between two starts of one that dies: soon, as checks wait for it; never a busy loop."""

LOOK_EVERY = 30.0
"""Seconds between two looks whether it still answers: a process that hangs does not die by itself."""

HEALTHY_AFTER = 60.0
"""Seconds of life after which a death counts as a first one again."""

LAST_LINES = 8
LINE_LIMIT = 240

_LEASH = ("setpriv", "--pdeathsig", "KILL", "sh", "-c", 'test "$PPID" = "$0" && exec "$@"')
"""Ends the child with us.  The shell closes the gap before that: it starts nothing for a dead parent."""

_LISTENS = "07"
"""The state of an unconnected UDP socket in /proc/net/udp."""

_AWAY = "this perspective's Unbound is not running; it is being started again"

_log = logging.getLogger(__name__)


class OwnUnbound:
    """A resolver (`resolver.Resolver`) whose other end is a child of this process.

    `configuration` writes the text of unbound.conf for a port; `directory` is private to the perspective.
    """

    def __init__(
        self,
        program: Path,
        directory: Path,
        configuration: Callable[[int], str],
        randomness: Randomness,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._program = program
        self._file = directory / "unbound.conf"
        self._configuration = configuration
        self._randomness = randomness
        self._look_every = look_every
        self._process: asyncio.subprocess.Process | None = None
        self._stub: StubResolver | None = None
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        return None if self._process is None else self._process.pid

    def __str__(self) -> str:
        return f"own Unbound at {self._stub or 'no port now'}"

    async def lookup(self, name: str, type: Type) -> Answer:
        stub = self._stub
        if stub is None:
            raise TransientError(_AWAY)
        try:
            answer = await stub.lookup(name, type)
        except LookupFailure as error:
            if self._stub is not stub:
                raise TransientError(_AWAY) from error
            raise
        if self._stub is not stub:
            # It ended meanwhile: who answered on its port is not known.
            raise TransientError(_AWAY)
        return answer

    async def start(self) -> None:
        """Start it and return when it answers.  Raises `ConfigurationError` with its last words."""
        port = _free_port()
        self._file.write_text(self._configuration(port), encoding="utf-8")
        self._lines.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *_LEASH,
                str(os.getpid()),
                *(str(self._program), "-d", "-p", "-c", str(self._file)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise ConfigurationError(
                f"validation.unbound: cannot run {_LEASH[0]} ({error.strerror})"
            ) from error
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(self._relay(self._process.stdout))
        upstream = [Upstream(HOST, port)]
        probe = StubResolver(upstream, self._randomness, PROBE_SECONDS)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (_holds(self._process.pid, port) and await probe.alive()):
                    if self._process.returncode is not None:
                        break
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        else:
            if self._process.returncode is None:
                self._stub = StubResolver(upstream, self._randomness)
                _log.info("Unbound serves at %s (pid %d)", self._stub, self._process.pid)
                return
        await self.stop()
        raise ConfigurationError(
            f"validation.unbound: {self._program} with {self._file} did not start; mend what it says: "
            + (" | ".join(self._lines) or "nothing")
        )

    async def keep(self) -> None:
        """Start it again whenever it dies, and end it when it hangs, until cancelled."""
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while True:
            born = loop.time()
            if self._process is not None:
                code = await self._end_of(self._process)
                self._stub = None
                if loop.time() - born > HEALTHY_AFTER:
                    delay = FIRST_DELAY
                _log.error("Unbound ended (%d); it starts again in %g s", code, delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)
            try:
                await self.start()
            except ConfigurationError as error:
                _log.error("%s", error)

    async def _end_of(self, process: asyncio.subprocess.Process) -> int:
        """Its exit code, sooner or later: one that answers nothing, asked twice, is killed."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_every):
                    return await process.wait()
            stub = self._stub
            if stub is not None and not await stub.alive() and not await stub.alive():
                _log.error("Unbound (pid %d) hangs: it is killed", process.pid)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    async def stop(self) -> None:
        """End it."""
        self._stub = None
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._reading is not None:
            await self._reading
            self._reading = None

    async def _relay(self, output: asyncio.StreamReader) -> None:
        """What it says goes into our log; zones choose some of the words."""
        while line := await _line(output):
            told = printable(line, LINE_LIMIT)
            self._lines.append(told)
            _log.info("%s", told)


async def _line(output: asyncio.StreamReader) -> bytes:
    """One line, not empty; a part of one that is too long; nothing at the end."""
    try:
        return (await output.readuntil(b"\n")).rstrip() or b" "
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await output.read(error.consumed)


def _free_port() -> int:
    """A loopback port that nobody uses now, by UDP and by TCP."""
    for _ in range(20):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        ):
            datagrams.bind((HOST, 0))
            port: int = datagrams.getsockname()[1]
            with contextlib.suppress(OSError):
                stream.bind((HOST, port))
                return port
    raise ConfigurationError("no loopback port is free for Unbound; see what holds them all (ss -lun)")


def _holds(pid: int, port: int) -> bool:
    """Whether the UDP socket on `port` is one of the process `pid` and of nobody else (proc(5))."""
    local = f"{int.from_bytes(socket.inet_aton(HOST), 'little'):08X}:{port:04X}"
    entries = [line.split() for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]]
    holders = {f"socket:[{entry[9]}]" for entry in entries if entry[1] == local and entry[3] == _LISTENS}
    return bool(holders) and holders <= set(_descriptors(pid))


def _descriptors(pid: int) -> Iterator[str]:
    """What the process has open; what it closes meanwhile, and a process that is gone, have nothing."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(link)
