"""A vault as its real process, killed and started again as a test likes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.data_directory import DataDirectory

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 60


class RunningVault:
    """`operations.process vault` on a data directory."""

    def __init__(
        self,
        data: DataDirectory,
        *,
        program: Sequence[str] = ("-m", "operations.process"),
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._data = data
        self._program = program
        self._arguments = arguments
        self._environment = os.environ | dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data.root / "vault.log"

    def start(self, crash_at: str = "") -> RunningVault:
        """Start it and wait until it serves.  Raises RuntimeError with its log when it does not."""
        read_end, write_end = os.pipe()
        arguments = ["--data", str(self._data.root), "--ready-fd", str(write_end), *self._arguments]
        if crash_at:
            arguments += ["--crash-at", crash_at]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._program, "vault", *arguments],
                cwd=REPOSITORY,
                env=self._environment,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
            )
        os.close(write_end)
        ready, _, _ = select.select([read_end], [], [], START_SECONDS)
        told = os.read(read_end, 10) if ready else b""
        os.close(read_end)
        if told != b"ready\n":
            self.kill()
            raise RuntimeError(f"the vault did not start:\n{self.log.read_text()[-3000:]}")
        return self

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def died(self) -> bool:
        """Wait for its end; whether a SIGKILL was it."""
        assert self.process is not None
        return self.process.wait(30) == -signal.SIGKILL

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
