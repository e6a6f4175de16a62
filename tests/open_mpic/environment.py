"""The environment of open-mpic-core: its exact pins conflict with ours, so it gets one of its own.

Made once beside the repository's own (.venv-open-mpic) and kept while requirements.txt stays the same.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
PEER = HERE / "peer.py"
ENVIRONMENT = HERE.parents[1] / ".venv-open-mpic"
INSTALL_SECONDS = 300


def python() -> Path:
    """Its interpreter; the environment is made when it is not current."""
    program, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        subprocess.run(
            [
                *(program, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"),
                *("--require-hashes", "--only-binary", ":all:", "-r", REQUIREMENTS),
            ],
            check=True,
            timeout=INSTALL_SECONDS,
        )
        stamp.write_text(wanted)
    return program
