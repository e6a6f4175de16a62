"""What a process does again and again while it runs.

Must never: end because one look failed; fail in silence.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from core.errors import CaError


async def for_ever(
    look: Callable[[], Awaitable[object] | object],
    every: float,
    log: logging.Logger,
    trouble: str,
    level: int = logging.ERROR,
) -> None:
    """Call `look`, `every` seconds apart, until cancelled.

    What it raises is told in `log` and tried again: what can happen (`CaError`, `OSError`) as one line at
    `level`, a fault of ours with its traceback.  `trouble` says what is not done meanwhile.
    """
    while True:
        try:
            found = look()
            if inspect.isawaitable(found):
                await found
        except (CaError, OSError) as error:
            log.log(level, "%s: %s", trouble, error)
        except Exception:
            log.exception("%s", trouble)
        await asyncio.sleep(every)
