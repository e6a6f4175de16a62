"""core/reader.py: the reader of a process that outlives the file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.clock import FakeClock
from core.errors import TransientError
from core.reader import LOOK_EVERY, OtherRegister, PatientReader, Rows, SteadyReader
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


class Word:
    """A mark: what the database has to hold."""

    def __init__(self, word: str) -> None:
        self.word = word

    def is_in(self, rows: Rows) -> bool:
        return rows.one("SELECT 1 FROM words WHERE word = ?", (self.word,)) is not None


def words(reader: PatientReader) -> list[str]:
    return [row["word"] for row in reader.all("SELECT word FROM words")]


@pytest.mark.clause("BR 4.9.10")
def test_an_older_database_is_not_believed_while_the_one_before_it_can_be_read(tmp_path: Path) -> None:
    path, mark = made(tmp_path / "ca.sqlite", "revoked"), [Word("revoked")]
    reader = PatientReader(path, 5, Ticking(NOW), lambda: mark[-1])
    assert words(reader) == ["revoked"]
    os.replace(made(tmp_path / "backup.sqlite", "good"), path)
    assert words(reader) == ["revoked"]
    mark.append(Word("good"))  # the app has looked at it, and put back what it lacked
    assert words(reader) == ["good"]
    reader.close()


@pytest.mark.clause("BR 4.9.10")
def test_an_older_database_is_not_believed_by_a_process_that_starts(tmp_path: Path) -> None:
    path, mark = made(tmp_path / "ca.sqlite", "good"), [Word("revoked")]
    reader = PatientReader(path, 5, Ticking(NOW), lambda: mark[-1])
    for _ in range(2):
        with pytest.raises(TransientError, match="acme-server reconcile"):
            words(reader)
    mark.append(Word("good"))
    assert words(reader) == ["good"]
    reader.close()


@pytest.mark.clause("BR 4.9.10")
def test_content_that_was_put_back_into_the_same_file_is_not_believed(tmp_path: Path) -> None:
    path, mark = made(tmp_path / "ca.sqlite", "revoked"), [Word("revoked")]
    reader = PatientReader(path, 5, Ticking(NOW), lambda: mark[-1])
    assert words(reader) == ["revoked"]
    restore_into(path, made(tmp_path / "backup.sqlite", "good"))
    for _ in range(2):
        with pytest.raises(TransientError, match="a backup was put back"):
            words(reader)
    mark.append(Word("good"))
    assert words(reader) == ["good"]
    reader.close()


def test_who_keeps_a_place_in_the_register_ends_when_it_is_another(tmp_path: Path) -> None:
    path, mark = made(tmp_path / "ca.sqlite", "revoked"), [Word("revoked")]
    reader = SteadyReader(path, 5, Ticking(NOW), lambda: mark[-1])
    assert words(reader) == ["revoked"]
    os.replace(made(tmp_path / "backup.sqlite", "good"), path)
    assert words(reader) == ["revoked"]
    mark.append(Word("good"))
    with pytest.raises(OtherRegister, match="begins anew"):
        words(reader)
    reader.close()


def test_who_keeps_a_place_ends_though_he_missed_the_moment(tmp_path: Path) -> None:
    path, mark = made(tmp_path / "ca.sqlite", "revoked"), [Word("revoked")]
    reader = SteadyReader(path, 5, Ticking(NOW), lambda: mark[-1])
    assert words(reader) == ["revoked"]
    restore_into(path, made(tmp_path / "backup.sqlite", "good"))
    mark.append(Word("good"))
    with pytest.raises(OtherRegister, match="begins anew"):
        words(reader)
    reader.close()


def test_who_keeps_a_place_ends_when_the_database_was_away_before_another_came(tmp_path: Path) -> None:
    path, mark = made(tmp_path / "ca.sqlite", "revoked"), [Word("revoked")]
    reader = SteadyReader(path, 5, Ticking(NOW), lambda: mark[-1])
    assert words(reader) == ["revoked"]
    path.unlink()
    with pytest.raises(TransientError, match="cannot open"):
        words(reader)
    made(path, "good")
    for _ in range(2):
        with pytest.raises(TransientError, match="acme-server reconcile"):
            words(reader)
    mark.append(Word("good"))
    with pytest.raises(OtherRegister, match="begins anew"):
        words(reader)
    reader.close()


def restore_into(path: Path, backup: Path) -> None:
    """By SQLite itself: the file stays, its content is another."""
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
