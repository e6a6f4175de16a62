"""Where clients from PyPI and npm live: environments of their own, beside the repository's.

Each is made once from its lock file, with the hashes of all packages, and kept while that stays the same.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
PACKAGES = HERE / "package.json"
LOCK = HERE / "package-lock.json"
PYTHON = REPOSITORY / ".venv-clients"
NODE = REPOSITORY / ".node-clients"
INSTALL_SECONDS = 300


def certbot() -> Path:
    """The newest certbot."""
    return python().parent / "certbot"


def python() -> Path:
    """The interpreter that has the newest `acme` and certbot."""
    program = PYTHON / "bin" / "python"

    def make() -> None:
        run(sys.executable, "-m", "venv", "--clear", PYTHON)
        install = [program, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        run(*install, "--require-hashes", "--only-binary", ":all:", "-r", REQUIREMENTS)

    once(PYTHON, make, REQUIREMENTS)
    return program


def node() -> Path:
    """The directory that holds npm's `acme-client` (below `node_modules`)."""

    def make() -> None:
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir()
        for file in (PACKAGES, LOCK):
            shutil.copy(file, NODE)
        # The lock names no registry ("resolved"); what comes must have its hashes all the same.
        run("npm", "ci", "--prefix", NODE, "--ignore-scripts", "--no-audit", "--no-fund", "--silent")

    once(NODE, make, PACKAGES, LOCK)
    return NODE


def once(directory: Path, make: Callable[[], None], *sources: Path) -> None:
    """Make it unless it was made from the same sources."""
    stamp = directory / ".installed"
    wanted = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        make()
        stamp.write_text(wanted)


def run(*words: str | Path) -> None:
    """An installer, which asks nobody."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} could not install: {done.stdout}{done.stderr}")
