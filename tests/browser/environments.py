"""Where Playwright and axe-core live.  The browser is Debian's chromium."""

from __future__ import annotations

from pathlib import Path

from tests.support import environments

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def python() -> Path:
    """The interpreter that has Playwright."""
    return environments.python(REPOSITORY / ".venv-browser", HERE / "requirements.txt")


def axe() -> Path:
    """axe-core's one file."""
    directory = environments.node(REPOSITORY / ".node-browser", HERE)
    return directory / "node_modules" / "axe-core" / "axe.min.js"
