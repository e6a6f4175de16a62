"""Which software made a certificate: kept with it in the register (CPS 5.5.1)."""

from __future__ import annotations

from importlib import metadata


def _software() -> str:
    try:
        return metadata.version("acme-server")
    except metadata.PackageNotFoundError:
        return "source tree"


SOFTWARE = _software()
"""Our version, or "source tree" where nothing is installed."""
