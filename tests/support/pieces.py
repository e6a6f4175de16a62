"""A CA whose processes are started one by one, so that a test can end any of them at any step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.support.ca import REPOSITORY, START_SECONDS, RunningCa

ROOMS = ("vault", "perspective", "app", "status")
"""In the order of starting: each builds on those before."""


class Pieces:
    """The processes of `ca`, whose data directory has its hierarchy already (it ran once and was stopped)."""

    def __init__(self, ca: RunningCa, perspective: str = "local") -> None:
        self._ca = ca
        self._perspective = perspective
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start_all(self) -> None:
        """Start what does not run, and wait until it serves."""
        for room in ROOMS:
            if not self.runs(room):
                self.start(room)

    def start(self, room: str, crash_at: str = "", victim: str = "") -> None:
        """Start one process and wait until it says that it serves.

        At the step `crash_at` it kills itself, or the running room `victim`.
        """
        reading, writing = os.pipe()
        words = [sys.executable, "-m", "operations.process", room, *self._ca.options()]
        words += ["--ready-fd", str(writing)]
        if room == "perspective":
            words += ["--code", self._perspective]
        if crash_at:
            words += ["--crash-at", crash_at]
        if victim:
            words += ["--crash-pid", str(self._running[victim].pid)]
        with self._ca.log.open("ab") as log:
            self._running[room] = subprocess.Popen(
                words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writing,)
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            said = ready.read(1)  # empty when the process ended without a word
        if not said and not crash_at:
            raise RuntimeError(f"{room} did not start:\n{self._ca.log_end()}")

    def runs(self, room: str) -> bool:
        """Whether the process is there."""
        return room in self._running and self._running[room].poll() is None

    def wait_for_death(self, room: str, seconds: float = START_SECONDS) -> bool:
        """Whether the process ended within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.runs(room):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def kill9(self, *rooms: str) -> None:
        """SIGKILL these, all at once."""
        for room in rooms:
            self._running[room].send_signal(signal.SIGKILL)
        for room in rooms:
            self._running[room].wait(10)

    def stop(self) -> None:
        """Stop all of them, the last started first."""
        for room in reversed(ROOMS):
            if self.runs(room):
                self._running[room].terminate()
        for process in self._running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
