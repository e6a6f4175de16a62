"""A file of the operator's that is read anew when it has changed, while the process runs.

Must never: take a file into use that is not in order; the one that was read before stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from core.errors import ConfigurationError

LOOK_EVERY = 10
"""Seconds between two looks whether the file has changed."""

_log = logging.getLogger(__name__)


async def follow(reload: Callable[[], Awaitable[object]]) -> None:
    """Call `reload` until cancelled; what it raises as `ConfigurationError` is reported once."""
    told = ""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            await reload()
            told = ""
        except ConfigurationError as error:
            if str(error) != told:
                _log.critical("the list that was read before stays in use: %s", error)
            told = str(error)


def seen(path: Path) -> tuple[int, ...]:
    """What tells one file from its successor.  Raises `OSError`."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
