"""core/reader.py: the reader of a process that outlives the file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from core.clock import FakeClock
from core.errors import TransientError
from core.reader import LOOK_EVERY, PatientReader
from tests.support.database import NOW


def made(path: Path, word: str) -> Path:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE words (word TEXT)")
        database.execute("INSERT INTO words VALUES (?)", (word,))
    database.close()
    return path


class Ticking(FakeClock):
    """Each look at the clock is after the time in which a reader believes that its file is the one."""

    def monotonic(self) -> float:
        self.at += 1
        assert LOOK_EVERY < 1
        return float(self.at)


def test_a_database_that_was_put_in_the_place_of_another_is_read(tmp_path: Path) -> None:
    path = made(tmp_path / "ca.sqlite", "old")
    reader = PatientReader(path, 5, Ticking(NOW))
    assert reader.all("SELECT word FROM words")[0]["word"] == "old"
    os.replace(made(tmp_path / "backup.sqlite", "new"), path)
    assert reader.all("SELECT word FROM words")[0]["word"] == "new"
    reader.close()


def test_a_database_that_was_removed_says_nothing_any_more(tmp_path: Path) -> None:
    path = made(tmp_path / "ca.sqlite", "old")
    reader = PatientReader(path, 5, Ticking(NOW))
    assert reader.one("SELECT word FROM words") is not None
    path.unlink()
    with pytest.raises(TransientError, match="cannot open"):
        reader.one("SELECT word FROM words")
    made(path, "restored")
    found = reader.one("SELECT word FROM words")
    assert found is not None
    assert found["word"] == "restored"
    reader.close()
