from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from core import audit, metrics, tables
from core.clock import ClockSteppedBack, FakeClock
from core.database import Database, Reader, Transaction
from core.errors import ConfigurationError, HaltIssuance, TransientError
from tests.support.database import NOW, opened

ROOT = Path(__file__).parents[2]


def put(name: str, value: str = "x"):
    def unit(tx: Transaction) -> str:
        tx.execute("INSERT INTO facts (name, value) VALUES (?, ?)", (name, value))
        tx.audit("fact", "test", {"name": name})
        return name

    return unit


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[asyncio.Task[object]]:
    """The writer is busy with one group, so that what is written inside waits and becomes the next group."""
    entered, release = asyncio.Event(), threading.Event()
    # The thread that commits is occupied first, so the group's COMMIT waits behind us.
    assert database._writer is not None
    busy = asyncio.create_task(database._writer._thread.run(lambda: release.wait(10)))
    task = asyncio.create_task(database.write(lambda tx: entered.set()))
    await entered.wait()
    try:
        yield task
        await asyncio.sleep(0)
    finally:
        release.set()
        await asyncio.gather(busy, task, return_exceptions=True)


def names(database: Database) -> set[str]:
    return {row["name"] for row in database.reader.all("SELECT name FROM facts")}


async def test_what_write_returned_is_durable_for_another_connection(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        assert await database.write(put("a")) == "a"
        other = Reader(tmp_path / "ca.sqlite")
        assert other.one("SELECT value FROM facts WHERE name = 'a'")["value"] == "x"
        other.close()


async def test_the_writer_runs_in_wal_with_full_synchronisation_and_foreign_keys(tmp_path: Path) -> None:
    def pragmas(tx: Transaction) -> list[object]:
        return [tx.one(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous", "foreign_keys")]

    async with opened(tmp_path) as database:
        assert await database.write(pragmas) == ["wal", 2, 1]


async def test_units_that_wait_together_share_one_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        before = commits()
        async with held(database):
            waiting = [asyncio.create_task(database.write(put(f"n{i}"))) for i in range(50)]
        await asyncio.gather(*waiting)
        assert len(names(database)) == 50
        assert commits() - before == 2  # the one that was held, and one for the fifty


async def test_a_unit_that_raises_leaves_nothing_and_does_not_harm_its_group(tmp_path: Path) -> None:
    def bad(tx: Transaction) -> None:
        put("bad")(tx)
        raise ValueError("no")

    async with opened(tmp_path) as database:
        before = audit.head(database.reader).sequence
        async with held(database):
            tasks = [asyncio.create_task(database.write(unit)) for unit in (put("a"), bad, put("b"))]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == "a"
        assert isinstance(results[1], ValueError)
        assert results[2] == "b"
        assert names(database) == {"a", "b"}
        assert audit.verify(database.reader) == []
        assert audit.head(database.reader).sequence == before + 2


async def test_an_exception_that_a_future_cannot_carry_reaches_the_caller_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.write(lambda tx: next(iter(())))
        with pytest.raises(SystemExit):
            await database.write(lambda tx: exit_now())
        assert await database.write(put("a")) == "a"


def commits() -> float:
    return metrics.REGISTRY.get_sample_value("acme_database_commits_total", {"outcome": "done"}) or 0


def exit_now() -> None:
    raise SystemExit(1)


async def test_a_failed_commit_halts_every_unit_of_the_group_and_all_after_it(tmp_path: Path) -> None:
    def breaks_at_commit(tx: Transaction) -> None:
        tx.execute("PRAGMA defer_foreign_keys = ON")
        tx.execute(
            "INSERT INTO order_authorizations (order_id, position, authorization_id) VALUES ('x', 0, 'y')"
        )

    async with opened(tmp_path) as database:
        async with held(database):
            tasks = [asyncio.create_task(database.write(unit)) for unit in (put("a"), breaks_at_commit)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [HaltIssuance, HaltIssuance]
        with pytest.raises(HaltIssuance, match="restart"):
            await database.write(put("b"))
        assert names(database) == set()
    async with opened(tmp_path) as database:
        await database.write(put("c"))
        assert names(database) == {"c"}
        assert audit.verify(database.reader) == []


async def test_a_full_disk_halts_issuance_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    def fill(tx: Transaction) -> None:
        pages = tx.one("PRAGMA page_count")[0]
        tx.execute(f"PRAGMA max_page_count = {pages + 1}")
        tx.execute("INSERT INTO facts (name, value) VALUES ('big', ?)", ("x" * 1_000_000,))

    async with opened(tmp_path) as database:
        await database.write(put("kept"))
        with pytest.raises(HaltIssuance, match="full"):
            await database.write(fill)
        with pytest.raises(HaltIssuance):
            await database.write(put("after"))
    async with opened(tmp_path) as database:
        assert names(database) == {"kept"}


async def test_a_unit_that_raises_alone_leaves_nothing(tmp_path: Path) -> None:
    def bad(tx: Transaction) -> None:
        put("bad")(tx)
        raise ValueError("no")

    async with opened(tmp_path) as database:
        before = audit.head(database.reader)
        with pytest.raises(ValueError, match="no"):
            await database.write(bad)
        assert audit.head(database.reader) == before
        assert await database.write(put("a")) == "a"
        assert names(database) == {"a"}
        assert audit.verify(database.reader) == []


async def test_a_failed_commit_is_told_to_whoever_waits_for_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        waiting = asyncio.create_task(database.broken())
        await database.write(put("a"))
        assert not waiting.done()
        with pytest.raises(HaltIssuance):
            await database.write(lambda tx: tx.execute("ROLLBACK"))
        await asyncio.wait_for(waiting, 5)


async def test_a_rollback_that_fails_leaves_no_writer_waiting(tmp_path: Path) -> None:
    class Gone:
        """A connection to a disk that is gone: what ends a transaction fails."""

        def __init__(self, real: sqlite3.Connection) -> None:
            self.real = real

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

        def execute(self, sql: str, *parameters: object) -> object:
            if sql in ("COMMIT", "ROLLBACK"):
                raise sqlite3.OperationalError("disk I/O error")
            return self.real.execute(sql, *parameters)

    async with opened(tmp_path) as database:
        assert database._writer is not None
        database._writer._connection = Gone(database._writer._connection)  # type: ignore[assignment]
        for name in ("a", "b"):
            with pytest.raises(HaltIssuance, match="disk I/O error"):
                await asyncio.wait_for(database.write(put(name)), 5)


async def test_a_unit_that_ends_the_transaction_by_itself_is_caught(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        with pytest.raises(HaltIssuance):
            await database.write(lambda tx: tx.execute("ROLLBACK"))


async def test_a_database_held_by_another_process_is_a_passing_fault(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    path = tmp_path / "ca.sqlite"
    tables.migrate(path, clock)
    database = Database(path, clock, busy_timeout=0)
    await database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError):
        await database.write(put("a"))
    other.execute("ROLLBACK")
    other.close()
    assert await database.write(put("a")) == "a"
    await database.close()


async def test_a_read_sees_nothing_that_is_not_committed(tmp_path: Path) -> None:
    def known(reader: Reader) -> bool:
        return reader.one("SELECT 1 FROM facts WHERE name = 'a'") is not None

    async with opened(tmp_path) as database:
        assert database._writer is not None
        release, written = threading.Event(), asyncio.Event()
        busy = asyncio.create_task(database._writer._thread.run(lambda: release.wait(10)))
        await asyncio.sleep(0)
        writing = asyncio.create_task(database.write(lambda tx: (put("a")(tx), written.set())))
        await written.wait()
        assert not await database.read(known)
        release.set()
        await asyncio.gather(busy, writing)
        assert await database.read(known)


async def test_a_cancelled_caller_harms_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        async with held(database) as busy:
            doomed = asyncio.create_task(database.write(put("doomed")))
            other = asyncio.create_task(database.write(put("other")))
            await asyncio.sleep(0)
            busy.cancel()
            doomed.cancel()
        assert await other == "other"
        assert names(database) == {"other"}


async def test_close_finishes_what_waits(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        tasks = [asyncio.create_task(database.write(put(f"n{i}"))) for i in range(20)]
        await asyncio.sleep(0)
    assert len(await asyncio.gather(*tasks)) == 20
    with pytest.raises(TransientError, match="closed"):
        await database.write(put("late"))


async def test_now_is_read_once_for_a_unit(tmp_path: Path) -> None:
    clock = FakeClock(NOW)

    def unit(tx: Transaction) -> tuple[int, int]:
        before = tx.now
        clock.at += 10
        return before, tx.now

    async with opened(tmp_path, clock) as database:
        assert await database.write(unit) == (NOW, NOW)


async def test_a_clock_that_steps_back_stops_writing(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    async with opened(tmp_path, clock) as database:
        await database.write(put("a"))
        clock.at = NOW - 100
        with pytest.raises(ClockSteppedBack):
            await database.write(put("b"))
        clock.at = NOW + 1
        await database.write(put("c"))
        assert names(database) == {"a", "c"}


async def test_a_clock_that_stepped_back_while_we_were_down_is_seen_at_the_start(tmp_path: Path) -> None:
    async with opened(tmp_path, FakeClock(NOW)) as database:
        await database.write(put("a"))
    async with opened(tmp_path, FakeClock(NOW - 3600)) as database:
        with pytest.raises(ClockSteppedBack):
            await database.write(put("b"))


async def test_a_reader_does_not_wait_for_the_writer(database: Database) -> None:
    await database.write(put("before"))
    async with held(database):
        assert names(database) == {"before"}


async def test_whatever_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A process that writes as fast as it can is killed: every unit that it reported is there."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdout is not None
    reported = [await writer.stdout.readline() for _ in range(200)]
    writer.kill()
    rest = await writer.stdout.read()
    await writer.wait()
    acknowledged = {
        line.decode().strip() for line in [*reported, *rest.splitlines(keepends=True)] if line[-1:] == b"\n"
    }
    async with opened(tmp_path, FakeClock(2**40)) as database:
        found = names(database)
        assert len(acknowledged) >= 200
        assert acknowledged <= found
        assert audit.verify(database.reader) == []
        assert audit.head(database.reader).sequence == len(found) + len(tables.migrations())
        assert database.reader.one("PRAGMA integrity_check")[0] == "ok"


WRITER = """
import asyncio, sys
from pathlib import Path
from core.clock import SystemClock
from tests.support.database import opened

async def client(database, number):
    for count in range(10_000):
        name = f"{number}-{count}"
        def unit(tx):
            tx.execute("INSERT INTO facts (name, value) VALUES (?, 'x')", (name,))
            tx.audit("fact", "test", {"name": name})
        await database.write(unit)
        print(name, flush=True)

async def main():
    async with opened(Path(sys.argv[1]), SystemClock()) as database:
        await asyncio.gather(*(client(database, number) for number in range(16)))

asyncio.run(main())
"""


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await database.read(lambda reader: reader.all("DELETE FROM audit"))


def test_a_reader_of_nothing_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set up"):
        Reader(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to read as a user who may write nothing")
def test_a_reader_who_may_write_nothing_waits_for_the_app() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ca.sqlite"
        tables.migrate(path, FakeClock(NOW))
        os.chmod(directory, 0o755)
        path.chmod(0o644)
        assert read_as_nobody(path) == "TransientError"
        app = sqlite3.connect(path)
        app.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')")
        app.commit()
        assert read_as_nobody(path) == "1"
        app.close()


def read_as_nobody(path: Path) -> str:
    """How many facts a process without any rights reads, or the error it meets."""
    receive, send = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.write(send, str(Reader(path).one("SELECT COUNT(*) FROM facts")[0]).encode())
        except BaseException as error:
            os.write(send, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(send)
    os.waitpid(child, 0)
    with os.fdopen(receive) as answer:
        return answer.read()


async def test_a_path_with_odd_characters_is_that_path(tmp_path: Path) -> None:
    directory = tmp_path / "a?b#c %41"
    directory.mkdir()
    async with opened(directory) as database:
        await database.write(put("a"))
    assert (directory / "ca.sqlite").exists()


async def test_a_database_that_was_not_set_up_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set up"):
        await Database(tmp_path / "none.sqlite", FakeClock(NOW)).open()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.clause("BR 4.9.3")
async def test_what_must_be_possible_at_any_hour_is_written_though_the_clock_stepped_back(
    tmp_path: Path,
) -> None:
    clock = FakeClock(NOW)
    async with opened(tmp_path, clock) as database:
        await database.write(put("a"))
        async with held(database):  # both are of one group
            clock.at -= 3600
            outcomes = asyncio.gather(
                database.write(put("b"), at_any_time=True), database.write(put("c")), return_exceptions=True
            )
        done, refused = await outcomes
        assert done == "b"
        assert isinstance(refused, ClockSteppedBack)
        assert names(database) == {"a", "b"}
        (record,) = database.reader.all("SELECT * FROM audit WHERE content LIKE '%\"b\"%'")
        assert record["at"] == NOW
        assert "stepped back" in record["content"]
        assert audit.verify(database.reader) == []


async def test_nothing_is_written_into_a_file_that_has_lost_its_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("before"))
        back_up(tmp_path)
        await database.write(put("after"))
        content = (tmp_path / "backup.sqlite").read_bytes()
        os.replace(tmp_path / "backup.sqlite", tmp_path / "ca.sqlite")
        await refuses(database, "another file has the name")
    assert (tmp_path / "ca.sqlite").read_bytes() == content


async def test_nothing_is_written_into_a_file_with_other_content(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("before"))
        back_up(tmp_path)
        await database.write(put("after"))
        with (tmp_path / "ca.sqlite").open("r+b") as file:  # as cp does
            file.write((tmp_path / "backup.sqlite").read_bytes())
        await refuses(database, "somebody else has written into")


async def test_nothing_is_written_on_top_of_what_sqlite_itself_put_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("before"))
        back_up(tmp_path)
        await database.write(put("after"))
        copy_into(tmp_path / "backup.sqlite", tmp_path / "ca.sqlite")
        await refuses(database, "ends at record|somebody else")


async def test_a_file_that_is_gone_takes_no_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("before"))
        (tmp_path / "ca.sqlite").unlink()
        await refuses(database, "is gone")


async def test_our_own_checkpoints_are_nobody_elses_writing(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        assert database._writer is not None
        database._writer._connection.execute("PRAGMA wal_autocheckpoint = 1")
        for number in range(20):
            await database.write(put(f"{number}", "x" * 5000))
            await database.look()
        assert database.replaced == ""


async def test_a_commit_during_which_the_file_was_replaced_is_not_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("before"))
        back_up(tmp_path)

        def unit(tx: Transaction) -> None:
            put("after")(tx)
            os.replace(tmp_path / "backup.sqlite", tmp_path / "ca.sqlite")

        with pytest.raises(HaltIssuance, match="another file has the name"):
            await database.write(unit)


def back_up(directory: Path) -> None:
    copy_into(directory / "ca.sqlite", directory / "backup.sqlite")


def copy_into(one: Path, other: Path) -> None:
    with closing(sqlite3.connect(one)) as source, closing(sqlite3.connect(other)) as target:
        source.backup(target)


async def refuses(database: Database, how: str) -> None:
    """Nothing more is written, it is told with a remedy, and nobody has to write for it to be noticed."""
    await database.look()
    assert re.search(how, database.replaced)
    assert "Stop the CA" in database.replaced
    await asyncio.wait_for(database.broken(), 1)
    with pytest.raises(HaltIssuance, match=how):
        await database.write(put("more"))
