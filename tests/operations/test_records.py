from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings, Status
from operations.records import record_start, record_stop, recorded_settings
from tests.support.database import opened


def settings_records(reader: Any) -> list[dict[str, Any]]:
    rows = reader.all("SELECT content FROM audit WHERE kind = 'settings' ORDER BY sequence")
    return [json.loads(row["content"]) for row in rows]


@pytest.mark.clause("CPS 5.4.1")
async def test_a_changed_setting_is_recorded_with_its_old_and_new_value(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(lambda tx: record_start(tx, Settings()))
        changed = replace(Settings(), status=Status(crl_delay=7))
        await database.write(lambda tx: record_start(tx, changed))
        assert settings_records(database.reader)[-1]["changed"] == {
            "status.crl_delay": [Settings().status.crl_delay, 7]
        }


async def test_unchanged_settings_are_recorded_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        for _ in range(3):
            await database.write(lambda tx: record_start(tx, Settings()))
            await database.write(record_stop)
        assert len(settings_records(database.reader)) == 1
        kinds = [row["kind"] for row in database.reader.all("SELECT kind FROM audit ORDER BY sequence")]
        assert kinds[-2:] == ["start", "stop"]


async def test_every_setting_in_force_is_in_the_record(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(lambda tx: record_start(tx, Settings()))
        found = recorded_settings(database.reader)
        assert found is not None
        assert found["ca.rules"] == "private"
        assert found["profiles.tlsserver.validity"] == 90 * 86400
