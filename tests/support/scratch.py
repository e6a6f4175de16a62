"""Where the tests' directories are: in memory, on a machine that has plenty of it.

What this CA acknowledges is durable first, and a disk takes milliseconds for each time: most of the suite's
time was spent waiting for that.  What tests show of durability is what is there after `kill -9`, and memory
keeps that as a disk does.  It also does not stall when another guest of the machine writes.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
LEAST = 4 << 30
"""Octets that must be free there, and in the machine twice that: the tests take one quarter at their most."""

_NAME = re.compile(r"acme-(\d+)")
"""Short: a socket's path has 107 octets."""


def directory() -> Path | None:
    """A new name for this process's directories, or None where the disk serves better."""
    try:
        of = os.statvfs(MEMORY)
    except OSError:
        return None
    free = of.f_bavail * of.f_frsize
    if free < LEAST or _available() < 2 * LEAST or of.f_flag & os.ST_NOEXEC or not os.access(MEMORY, os.W_OK):
        return None
    _sweep()
    return MEMORY / f"acme-{os.getpid()}"


def _available() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _sweep() -> None:
    """Remove what test processes left that were killed or whose tests failed: it lasts until the next run."""
    for path in MEMORY.iterdir():
        found = _NAME.fullmatch(path.name)
        if found and not os.path.exists(f"/proc/{found[1]}") and path.stat().st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)
