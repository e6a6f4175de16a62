"""The Unbound of this perspective: started, watched and ended as a child of this process.

It listens on a loopback port that is new at each start and can be nobody else's (held_port.py).  While it is
away nothing is asked, and every look-up is a fault of ours.

Must never: leave an Unbound behind, whatever ends this process (the kernel kills it: PR_SET_PDEATHSIG); share
one with another perspective (BR 3.2.2.9).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from core.errors import ConfigurationError, TransientError
from core.randomness import Randomness
from validation.dns.held_port import HOST, HeldPort
from validation.dns.resolver import Answer, LookupFailure, StubResolver, Type, Upstream
from validation.verdict import printable

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
        self._port: HeldPort | None = None
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
        self._port = port = HeldPort()
        self._file.write_text(self._configuration(port.number), encoding="utf-8")
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
        upstream = [Upstream(HOST, port.number)]
        probe = StubResolver(upstream, self._randomness, PROBE_SECONDS)
        try:
            async with asyncio.timeout(START_SECONDS):
                while self._process.returncode is None and not await probe.alive():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        else:
            port.shut()
            if self._process.returncode is None and port.is_held_by(self._process.pid):
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
                await self.stop()
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
        port, self._port = self._port, None
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
        if port is not None:
            port.close()

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
