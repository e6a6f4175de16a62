"""Starting, watching and stopping the CA's processes.

A child tells by a pipe when it serves.  A dead child is started again with back-off.  Each child is its own
process group, so a Ctrl-C reaches the supervisor alone, which stops them in order; a supervisor that is
killed takes its children along (operations/process.py asks the kernel for SIGTERM at the parent's death).

Must never: leave an orphan; read a child's secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data_directory import DataDirectory
from core.errors import CaError
from core.settings import Settings
from operations.isolation import Isolation
from operations.process import GRACE

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds between two starts of a child that dies: soon, as most crashes are single; never a busy loop."""

HEALTHY_AFTER = 60.0
"""Seconds of life after which a death counts as a first one again."""

START_TIMEOUT = 120.0
"""Seconds to become ready: a token on a slow disk and a lint pool take a few; a hang must be seen."""

FRONT = ("app", "keeper", "status", "sites")
"""Roles that stand on the vault and the perspectives: they start after those and stop before."""

PROGRAM = (sys.executable, "-m", "operations.process")

_log = logging.getLogger(__name__)


class ChildFailed(CaError):
    """A child ended before it served; the message holds the last thing it said."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process: `name` is unique ("vault", "perspective-local"), `role` what operations.process runs."""

    name: str
    role: str
    code: str = ""


def of(settings: Settings) -> tuple[Child, ...]:
    """The processes of an embedded CA, in the order in which they start; those with a url run elsewhere."""
    perspectives = (
        Child(f"perspective-{perspective.code}", "perspective", perspective.code)
        for perspective in settings.validation.perspectives
        if not perspective.url
    )
    sites = (Child("sites", "sites"),) if settings.test_sites.zone else ()
    workers = (
        Child("status" if n == 1 else f"status-{n}", "status") for n in range(1, settings.status.workers + 1)
    )
    front = (Child("app", "app"), Child("keeper", "keeper"), *workers, *sites)
    return (Child("vault", "vault"), *perspectives, *front)


class Children:
    """The processes under one supervisor.  `common` are the options all of them share."""

    def __init__(
        self,
        data: DataDirectory,
        isolation: Isolation,
        common: Sequence[str],
        say: Callable[[str], None],
        crash_at: str = "",
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._data = data
        self._isolation = isolation
        self._common = common
        self._say = say
        self._crash_at = crash_at
        self._program = program
        self._processes: dict[Child, asyncio.subprocess.Process] = {}
        self._stopping = False

    async def start(self, child: Child) -> None:
        """Start `child` and wait until it serves.  Raises `ChildFailed`."""
        read_end, write_end = os.pipe()
        arguments = [*self._program, child.role, *self._common]
        arguments += ["--ready-fd", str(write_end), "--parent", str(os.getpid())]
        if child.code:
            arguments += ["--code", child.code]
        name, _, step = self._crash_at.partition(":")
        if name == child.name and child not in self._processes:
            # The first life only: the crash tests watch how the next one sets things right.
            arguments += ["--crash-at", step]
        log = self._data.log / f"{child.name}.log"
        start = log.stat().st_size if log.exists() else 0
        try:
            # Others may write in these directories: no name of theirs leads root to another file.
            with open(log, "ab", opener=unfollowed) as output:
                process = await asyncio.create_subprocess_exec(
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(write_end,),
                    process_group=0,
                    **self._isolation.spawn_options(child.role),
                )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._processes[child] = process
        pid = self._data.run / f"{child.name}.pid"
        pid.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError), pid.open("x") as written:
            written.write(f"{process.pid}\n")
        if not await _ready(read_end):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            code = await process.wait()
            raise ChildFailed(f"{child.name} did not start (exit {code}): {_last_words(log, start)}")

    async def keep(self, child: Child) -> None:
        """Wait for a started `child` and start it again whenever it dies, until `stop`."""
        loop = asyncio.get_running_loop()
        delay, born = FIRST_DELAY, loop.time()
        while True:
            code = await self._processes[child].wait()
            self._sweep(child)
            if self._stopping:
                return
            if loop.time() - born > HEALTHY_AFTER:
                delay = FIRST_DELAY
            log = self._data.log / f"{child.name}.log"
            self._say(f"{child.name} ended ({_how(code)}), see {log}; it starts again in {delay:g} s")
            await asyncio.sleep(delay)
            delay, born = min(2 * delay, LONGEST_DELAY), loop.time()
            try:
                await self.start(child)
                self._say(f"{child.name} serves again")
            except ChildFailed as error:
                _log.error("%s", error)

    async def stop(self) -> None:
        """Stop the front first, then those who serve it; kill what does not stop in time."""
        self._stopping = True
        front = [child for child in self._processes if child.role in FRONT]
        behind = [child for child in self._processes if child not in front]
        for group in (front, behind):
            await asyncio.gather(*(self._stop(child) for child in group))

    def kill(self) -> None:
        """End all of them at once (a second Ctrl-C)."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _sweep(self, child: Child) -> None:
        # A killed vault leaves its lint workers, which are of its process group, waiting for ever.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._processes[child].pid, signal.SIGKILL)

    async def _stop(self, child: Child) -> None:
        process = self._processes[child]
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(GRACE + 2):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        self._sweep(child)
        (self._data.run / f"{child.name}.pid").unlink(missing_ok=True)


async def _ready(read_end: int) -> bool:
    """Whether the child wrote to the pipe before it closed its end, that is, before it died."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[bool] = loop.create_future()

    def read() -> None:
        if not heard.done():
            heard.set_result(os.read(read_end, 16) != b"")

    loop.add_reader(read_end, read)
    try:
        async with asyncio.timeout(START_TIMEOUT):
            return await heard
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(read_end)
        os.close(read_end)


def _last_words(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    # A refusal is one CRITICAL line; anything else is a fault whose last lines tell most.
    for line in reversed(lines):
        _, critical, message = line.partition(" CRITICAL operations.process: ")
        if critical and not message.endswith("process failed"):
            return message
    return f"its last lines in {log}:\n  " + "\n  ".join(lines[-6:])


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def unfollowed(path: str, flags: int) -> int:
    """For `open`: a symbolic link in the place of the file is an error."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
