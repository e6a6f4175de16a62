"""One process of the CA: `python -m operations.process app|vault|perspective|keeper|status|sites ...`.

Loads the settings, imports its own room and nothing else, serves until told to stop.  The vault's process
must hold no web, SQL or DNS code: this module imports no more than the standard library and core's settings.

Must never: import a room at module level; print a secret.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from core import no_core_dump
from core.clock import SystemClock
from core.configuration import load
from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError
from core.randomness import SystemRandomness
from core.settings import Settings
from operations import isolation

ROOMS = {
    "vault": "signer.vault.server",
    "perspective": "validation.perspective",
    "app": "operations.wiring",
    "keeper": "status.keeper",
    "status": "status.server",
    "sites": "operations.sites.server",
}
"""Whose `serve` each process runs."""

GRACE = 15
"""Seconds from the first stop signal to the hard end: longer than any request's timeout on the way out."""

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

_PR_SET_PDEATHSIG = 1
_log = logging.getLogger("operations.process")


class Exit(IntEnum):
    """Exit codes of every command and process."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    CONFIGURATION = 3
    REFUSED = 4
    NOT_RUNNING = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process until SIGTERM, SIGINT or the supervisor's death; its exit code."""
    options = _parse(arguments)
    logging.basicConfig(stream=sys.stderr, level=options.log_level.upper(), format=LOG_FORMAT)
    _plain_records()
    if options.crash_at:
        crash_at(options.crash_at, options.crash_pid)
    if options.role == "status":
        no_core_dump.forbid()  # a private key may be in a problem report
    if options.parent:
        _die_with(options.parent)
    # Sockets and files are for our own group at most; what the public may read is opened up by its writer.
    os.umask(0o027)
    try:
        settings = load(options.config, options.set)
        data = DataDirectory(options.data)
        with asyncio.Runner(loop_factory=_loop_factory(options.role)) as runner:
            runner.run(_serve(options, settings, data))
    except ConfigurationError as error:
        _log.critical("%s", error)
        return Exit.CONFIGURATION
    except CaError as error:
        _log.critical("%s", error)
        return Exit.REFUSED
    except Exception:
        _log.critical("the %s process failed", options.role, exc_info=True)
        return Exit.FAULT
    return Exit.DONE


def crash_at(step: str, pid: int = 0) -> None:
    """For the crash tests: `kill -9` of this process or `pid` when `step` is reached (signer/steps.py)."""
    logging.getLogger().addHandler(_Crash(step, pid or os.getpid()))
    logging.getLogger("signer").setLevel(logging.DEBUG)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m operations.process", description=main.__doc__)
    parser.add_argument("role", choices=ROOMS)
    parser.add_argument("--code", default="", help="which perspective")
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--ready-fd", type=int, default=-1, help="where to say that it serves")
    parser.add_argument("--parent", type=int, default=0, help="end when this process does")
    parser.add_argument("--crash-at", default="", help=argparse.SUPPRESS)
    parser.add_argument("--crash-pid", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if (options.role == "perspective") != bool(options.code):
        parser.error("--code goes with `perspective`, and only with it")
    return options


def _loop_factory(role: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    # The vault forks its lint pool and lives of its threads: the standard loop, and one dependency less
    # beside the key.  The others are bound by the loop.
    if role == "vault":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(options: argparse.Namespace, settings: Settings, data: DataDirectory) -> None:
    serve: Callable[..., Awaitable[None]] = importlib.import_module(ROOMS[options.role]).serve

    def ready() -> None:
        # What is loaded by now stays for good (code, lists of suffixes and weak keys): looking through it for
        # garbage again and again was more than half of the app's CPU.
        gc.collect()
        gc.freeze()
        _log.info("%s serves (pid %d)", options.code or options.role, os.getpid())
        if options.ready_fd >= 0:
            os.write(options.ready_fd, b"ready\n")
            os.close(options.ready_fd)

    given: dict[str, Any] = {
        "settings": settings,
        "data": data,
        "clock": SystemClock(),
        "randomness": SystemRandomness(),
        "ready": ready,
    }
    if options.role == "perspective":
        given["code"] = options.code
    if options.role == "vault":
        given["roles"] = isolation.roles()
    task = asyncio.ensure_future(serve(**given))
    loop = asyncio.get_running_loop()
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            # SIGALRM's default action ends a process that cannot stop by itself.
            signal.alarm(GRACE)
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise
    _log.info("%s has stopped", options.code or options.role)


def _plain_records() -> None:
    # What our format does not show need not be found out for each record (logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None


def _die_with(parent: int) -> None:
    # Set here and not by the supervisor: the kernel clears it when the uid changes (prctl(2)).
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(Exit.NOT_RUNNING)


class _Crash(logging.Handler):
    """For the crash tests: `kill -9` of a process when the issuance cycle logs that it reached a step."""

    def __init__(self, step: str, pid: int) -> None:
        super().__init__(logging.DEBUG)
        self._step = step
        self._pid = pid

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "step", None) == self._step:
            # Once: the pid of a process that died may soon be another's.
            logging.getLogger().removeHandler(self)
            os.kill(self._pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
