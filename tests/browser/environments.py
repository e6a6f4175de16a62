"""Where Playwright and axe-core live: environments of their own, beside the repository's.

Each is made once from its lock file, with the hashes of all packages.  The browser is Debian's chromium.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.clients.environments import once, run

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
PACKAGES = (HERE / "package.json", HERE / "package-lock.json")
PYTHON = REPOSITORY / ".venv-browser"
NODE = REPOSITORY / ".node-browser"


def python() -> Path:
    """The interpreter that has Playwright."""
    program = PYTHON / "bin" / "python"

    def make() -> None:
        run(sys.executable, "-m", "venv", "--clear", PYTHON)
        install = [program, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        run(*install, "--require-hashes", "--only-binary", ":all:", "-r", REQUIREMENTS)

    once(PYTHON, make, REQUIREMENTS)
    return program


def axe() -> Path:
    """axe-core's one file."""

    def make() -> None:
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir()
        for file in PACKAGES:
            shutil.copy(file, NODE)
        run("npm", "ci", "--prefix", NODE, "--ignore-scripts", "--no-audit", "--no-fund", "--silent")

    once(NODE, make, *PACKAGES)
    return NODE / "node_modules" / "axe-core" / "axe.min.js"
