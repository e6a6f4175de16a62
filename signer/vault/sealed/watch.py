"""A new seal binds at once: the vault ends when a ceremony put another hierarchy in force, and starts on it.

What a ceremony decided (an issuer retired, a perspective believed no more, a key destroyed) may not wait for
somebody to think of a restart.  The vault finishes what has an intent and ends; whoever keeps it running
(the supervisor, systemd) starts it again, and people who share its PIN activate it: they are there, as they
have just held the ceremony.

Must never: judge the new seal; the next start does.

CPS 6.1, 6.5.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

LOOK_EVERY = 1.0
"""Seconds between two looks at the file: one stat(2)."""

_log = logging.getLogger(__name__)


async def until_sealed_anew(path: Path, sealed: bytes, every: float = LOOK_EVERY) -> None:
    """Return when `path` holds another hierarchy than the octets `sealed`; a missing file is none."""
    seen = None  # the first look compares: it may have changed while the vault started
    while True:
        await asyncio.sleep(every)
        mark = _mark(path)
        if mark is None or mark == seen:
            continue
        seen = mark
        if path.read_bytes() != sealed:
            _log.warning("vault: a ceremony has sealed a new hierarchy: ending, to start on it")
            return


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
