"""Where clients from PyPI and npm live."""

from __future__ import annotations

from pathlib import Path

from tests.support import environments

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def certbot() -> Path:
    """The newest certbot."""
    return python().parent / "certbot"


def python() -> Path:
    """The interpreter that has the newest `acme` and certbot."""
    return environments.python(REPOSITORY / ".venv-clients", HERE / "requirements.txt")


def node() -> Path:
    """The directory that holds npm's `acme-client` (below `node_modules`)."""
    return environments.node(REPOSITORY / ".node-clients", HERE)
