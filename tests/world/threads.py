"""An asyncio loop on a thread of its own, for the world's servers: tests may block, the world goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Closable(Protocol):
    """A transport or a server."""

    def close(self) -> None: ...


class LoopThread:
    """Runs from `start` to `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns on the loop.  Called from other threads."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self, opened: Sequence[Closable] = ()) -> None:
        """Close what is `opened`, cancel what runs, and end."""
        if self._thread.is_alive():
            self.run(self._cancel(opened))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _cancel(self, opened: Sequence[Closable]) -> None:
        for each in opened:
            each.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
