"""The one thread that waits for the disk: it runs a function, and the event loop goes on meanwhile.

`concurrent.futures` would do the same with two futures, two locks and a work item for each call, which took
a fifth of the writer's time.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable

_Call = tuple[Callable[[], object], "asyncio.Future[None]"]


class CommitThread:
    """For one event loop, which must be running until `close` was called."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="database-commit", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[], object]) -> None:
        """Run `function`; raises what it raised."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._calls.put((function, done))
        await done

    def close(self) -> None:
        """End the thread once what was asked for is done."""
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, done = call
            failure: BaseException | None = None
            try:
                function()
            except BaseException as error:  # whatever it is, somebody waits for it
                failure = error
            self._loop.call_soon_threadsafe(_settle, done, failure)
            del call, done, failure  # or the next wait would keep them alive


def _settle(done: asyncio.Future[None], failure: BaseException | None) -> None:
    if done.done():  # the caller was cancelled
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
