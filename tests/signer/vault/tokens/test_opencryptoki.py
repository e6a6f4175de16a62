"""The conformance suite on openCryptoki's soft token, with a daemon and a token store of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SPACES = ("--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.mark.long
def test_opencryptoki_passes_the_part_of_the_suite_that_its_mechanisms_allow() -> None:
    if shutil.which("pkcsslotd") is None:
        pytest.skip("opencryptoki is not installed: scripts/system-packages test")
    if os.geteuid() != 0 or subprocess.run(["unshare", *SPACES, "true"], check=False).returncode != 0:
        pytest.skip("pkcsslotd needs root, and name spaces so that no token of this machine is touched")
    suite = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "opencryptoki", "-rs")
    done = subprocess.run(
        ["unshare", *SPACES, "sh", HERE / "opencryptoki_world.sh", *suite, HERE / "test_conformance.py"],
        cwd=HERE.parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed, 1 skipped" in done.stdout
