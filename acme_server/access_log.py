"""The access log: lines are gathered, and a thread writes them now and then, so no request waits for a disk.

A line by the `logging` module, or a thread woken for each, cost more than all else about it.  A kill loses
the lines of the last moment; what must not be lost is in the audit log.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

PAUSE = 0.5
"""Seconds between two writes: a person who follows the log does not notice."""


class AccessLog:
    """One file, appended to."""

    def __init__(self, path: Path) -> None:
        """`path` is a file; its directory must exist."""
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._lines: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to write."""
        self._writing = asyncio.get_running_loop().create_task(self._write_now_and_then())

    def add(self, line: str) -> None:
        """One line, without its end; what could forge another line is escaped."""
        self._lines.append(line if line.isprintable() else ascii(line)[1:-1])

    def close(self) -> None:
        """Write what waits and stop."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        if not self._file.closed:
            self._write()
            self._file.close()

    async def _write_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            if self._lines:
                await asyncio.to_thread(self._write)

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._file.writelines(line + "\n" for line in lines)
        self._file.flush()
