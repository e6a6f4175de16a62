"""The repository of a whole CA, checked by a stranger's program, also when all else is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.ca import RunningCa

PROGRAM = Path(__file__).parents[2] / "examples" / "verify_repository.py"


def verified(ca: RunningCa) -> subprocess.CompletedProcess[str]:
    root = str(ca.data / "trust-anchor.pem")
    return subprocess.run(
        [sys.executable, PROGRAM, ca.public_url, "--root", root],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def manifest(ca: RunningCa) -> Any:
    return json.loads(ca.get(f"{ca.public_url}/manifest.json"))


def issued(ca: RunningCa) -> int:
    count: int = manifest(ca)["days"]["open"]["issued"]["count"]
    return count


@pytest.mark.long
@pytest.mark.clause("requirements 1.07")
def test_a_stranger_finds_all_well_also_when_only_a_status_process_is_left(tmp_path: Path) -> None:
    ca = RunningCa(tmp_path / "ca", {"repository.manifest_refresh": 10}).start()
    try:
        deadline = time.monotonic() + 120  # in the first minute of a day the list of the day before is open
        while (ca.data / "repository" / "manifest.jws").exists() is False:
            assert time.monotonic() < deadline, "no manifest"
            time.sleep(0.1)
        while issued(ca) == 0:  # the CA's own TLS certificate
            assert time.monotonic() < deadline, "the list of today stays empty"
            time.sleep(0.2)
        found = verified(ca)
        assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr
        # A supervisor that is stopped starts nobody again.
        os.kill(ca.pid, signal.SIGSTOP)
        for name in ("vault", "perspective", "app", "status"):
            for pid in ca.processes(name):
                os.kill(pid, signal.SIGKILL)
        for path in ca.data.glob("ca.sqlite*"):
            path.unlink()
        with (tmp_path / "status.log").open("wb") as log:
            alone = subprocess.Popen(
                [sys.executable, "-m", "operations.process", "status", *ca.options()],
                cwd=PROGRAM.parents[1],
                stdout=log,
                stderr=log,
            )
        try:
            while (found := verified(ca)).returncode == 2 and time.monotonic() < deadline + 60:
                assert alone.poll() is None, (tmp_path / "status.log").read_text()
            assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr
        finally:
            alone.terminate()
            alone.wait(20)
    finally:
        ca.kill9_all()
