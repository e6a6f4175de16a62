"""Environments of their own, beside the repository's, for programs from PyPI and npm that tests drive.

Each is made once from its lock file, with the hashes of all packages, and kept while that stays the same.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

INSTALL_SECONDS = 300


def python(directory: Path, requirements: Path) -> Path:
    """The interpreter of the virtual environment in `directory`, with what `requirements` pins."""
    program = directory / "bin" / "python"

    def make() -> None:
        _run(sys.executable, "-m", "venv", "--clear", directory)
        install = [program, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        _run(*install, "--require-hashes", "--only-binary", ":all:", "-r", requirements)

    _once(directory, make, requirements)
    return program


def node(directory: Path, source: Path) -> Path:
    """`directory`, with what package.json and package-lock.json of `source` pin below `node_modules`."""
    files = (source / "package.json", source / "package-lock.json")

    def make() -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for file in files:
            shutil.copy(file, directory)
        # The lock names no registry ("resolved"); what comes must have its hashes all the same.
        _run("npm", "ci", "--prefix", directory, "--ignore-scripts", "--no-audit", "--no-fund", "--silent")

    _once(directory, make, *files)
    return directory


def _once(directory: Path, make: Callable[[], None], *sources: Path) -> None:
    """Make it unless it was made from the same sources."""
    stamp = directory / ".installed"
    wanted = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        make()
        stamp.write_text(wanted)


def _run(*words: str | Path) -> None:
    """An installer, which asks nobody."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} could not install: {done.stdout}{done.stderr}")
