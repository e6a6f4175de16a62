"""A real database in a temporary directory, for the tests of every room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from core import tables
from core.clock import Clock, FakeClock
from core.database import Database

NOW = 1_795_392_000
"""2026-11-23 00:00:00 UTC: the day this was built; four remote perspectives and 200 days bind."""


@asynccontextmanager
async def opened(
    directory: Path, clock: Clock | None = None, group_commit: int = 256
) -> AsyncIterator[Database]:
    """A migrated, open database below `directory`; opening the same directory again finds it again."""
    clock = FakeClock(NOW) if clock is None else clock
    path = directory / "ca.sqlite"
    tables.migrate(path, clock)
    database = Database(path, clock, group_commit=group_commit)
    await database.open()
    try:
        yield database
    finally:
        await database.close()
