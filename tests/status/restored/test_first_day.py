"""status/restored/lists.py: of which days a restored register reads the lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import gaps
from core.clock import FakeClock
from core.database import Database
from repo_static.manifest.lists import day_of
from status.restored.lists import first_day
from tests.support.database import NOW, opened
from tests.support.software_vault import DAY

pytestmark = pytest.mark.clause("CPS 5.7.4")


async def record(database: Database, kind: str, content: Any = None) -> None:
    await database.write(lambda tx: tx.audit(kind, "system", content or {}))


async def found(database: Database, at: int) -> None:
    await database.write(lambda tx: gaps.revocations_unknown(tx, at, "the mark"))


async def test_starts_that_failed_after_the_restore_do_not_hide_a_day(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    async with opened(tmp_path, clock) as database:
        for kind in ("start", "crl", "revocation"):
            await record(database, kind)
        for _ in range(3):  # restored: the vault was away, a setting was wrong
            clock.at += DAY
            await record(database, "start")
        await found(database, clock.at)
        assert first_day(database.reader) == day_of(NOW)


async def test_what_is_found_days_later_does_not_hide_a_day(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    async with opened(tmp_path, clock) as database:
        await record(database, "crl")
        for _ in range(3):  # closed, and each day something newer is brought, or found at a start
            clock.at += DAY
            await record(database, "start")
            await found(database, clock.at)
            await record(database, "revocation")
            assert first_day(database.reader) == day_of(NOW)


async def test_where_a_person_tells_of_the_restore_all_days_are_read(tmp_path: Path) -> None:
    async with opened(tmp_path, FakeClock(NOW)) as database:
        assert first_day(database.reader) == ""
        await record(database, "crl")
        await found(database, NOW)
        assert first_day(database.reader) == day_of(NOW)
        await database.write(lambda tx: gaps.found(tx, gaps.RESTORED, "all", "bring it", {"at": NOW}))
        assert first_day(database.reader) == ""
