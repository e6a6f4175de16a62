from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core import jobs, metrics
from core.clock import FakeClock
from core.database import Database
from core.errors import HaltIssuance, TransientError
from core.jobs import JobRunner
from tests.support.database import NOW, opened

Handler = Callable[[str], Awaitable[None]]


async def add(database: Database, *subjects: str, kind: str = "work", run_at: int | None = None) -> None:
    for subject in subjects:
        await database.write(lambda tx, s=subject: jobs.add(tx, kind, s, run_at))


def rows(database: Database) -> dict[str, dict[str, object]]:
    return {row["subject"]: dict(row) for row in database.reader.all("SELECT * FROM jobs")}


@asynccontextmanager
async def running(
    database: Database,
    clock: FakeClock,
    handlers: Mapping[str, Handler],
    concurrency: int | Mapping[str, int] = 8,
) -> AsyncIterator[JobRunner]:
    runner = JobRunner(database, clock, handlers, concurrency)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        await runner.close()
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def finishing(database: Database, finished: list[str], kind: str = "work") -> Handler:
    async def handle(subject: str) -> None:
        await database.write(lambda tx: jobs.done(tx, kind, subject))
        finished.append(subject)

    return handle


async def test_jobs_left_by_a_dead_process_are_run_at_the_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await add(database, "a", "b")
    finished: list[str] = []
    clock = FakeClock(NOW)
    async with (
        opened(tmp_path, clock) as database,
        running(database, clock, {"work": finishing(database, finished)}),
    ):
        await until(lambda: sorted(finished) == ["a", "b"])
        assert rows(database) == {}


async def test_wake_runs_a_job_that_was_just_committed(database: Database, clock: FakeClock) -> None:
    finished: list[str] = []
    async with running(database, clock, {"work": finishing(database, finished)}) as runner:
        await asyncio.sleep(0)
        await add(database, "a")
        runner.wake()
        await until(lambda: finished == ["a"])


async def test_a_job_of_the_future_waits_for_its_time(database: Database, clock: FakeClock) -> None:
    finished: list[str] = []
    await add(database, "later", run_at=NOW + 100)
    async with running(database, clock, {"work": finishing(database, finished)}) as runner:
        await add(database, "now")
        runner.wake()
        await until(lambda: finished == ["now"])
        clock.at += 100
        runner.wake()
        await until(lambda: finished == ["now", "later"])


async def test_adding_a_job_twice_is_one_job_with_the_earlier_time(database: Database) -> None:
    await add(database, "a", run_at=NOW + 100)
    await add(database, "a", run_at=NOW + 50)
    await add(database, "a", run_at=NOW + 70)
    assert rows(database)["a"]["run_at"] == NOW + 50


async def test_a_job_under_way_is_not_started_again(database: Database, clock: FakeClock) -> None:
    started: list[str] = []
    release = asyncio.Event()

    async def handle(subject: str) -> None:
        started.append(subject)
        await release.wait()
        await database.write(lambda tx: jobs.done(tx, "work", subject))

    await add(database, "slow")
    async with running(database, clock, {"work": handle}) as runner:
        await until(lambda: started == ["slow"])
        await add(database, "next")
        for _ in range(10):
            runner.wake()
            await asyncio.sleep(0)
        await until(lambda: "next" in started)
        assert started == ["slow", "next"]
        release.set()
        await until(lambda: not rows(database))
    assert started == ["slow", "next"]


async def test_no_job_runs_twice_at_the_same_time_and_no_more_than_allowed(
    database: Database, clock: FakeClock
) -> None:
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()

    def handler(kind: str) -> Handler:
        async def handle(subject: str) -> None:
            now[kind] += 1
            now[subject] += 1
            most[kind] = max(most[kind], now[kind])
            most[subject] = max(most[subject], now[subject])
            await asyncio.sleep(0)
            await database.write(lambda tx: jobs.done(tx, kind, subject))
            now[kind] -= 1
            now[subject] -= 1

        return handle

    await add(database, *(f"f{i}" for i in range(20)), kind="fast")
    await add(database, *(f"s{i}" for i in range(20)), kind="slow")
    handlers = {"fast": handler("fast"), "slow": handler("slow")}
    async with running(database, clock, handlers, {"fast": 5, "slow": 2}) as runner:
        for _ in range(10):
            runner.wake()
            await asyncio.sleep(0)
        await until(lambda: not rows(database))
    assert most["fast"] == 5
    assert most["slow"] == 2
    assert max(count for name, count in most.items() if name not in handlers) == 1


@pytest.mark.parametrize(
    ("error", "level", "delays"),
    [
        (TransientError("the network is down"), logging.WARNING, [1, 2, 4, 8, 16, 32, 60, 60]),
        (HaltIssuance("the token is gone"), logging.CRITICAL, [60, 60, 60]),
        (ValueError("a bug"), logging.ERROR, [1, 2, 4]),
    ],
)
async def test_a_job_that_fails_is_kept_and_tried_again_later(
    database: Database,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
    delays: list[int],
) -> None:
    tries: list[int] = []

    async def handle(subject: str) -> None:
        tries.append(clock.at)
        raise error

    await add(database, "a")
    async with running(database, clock, {"work": handle}) as runner:
        for number, delay in enumerate(delays, 1):
            await until(lambda n=number: rows(database)["a"]["attempts"] == n)
            assert rows(database)["a"]["run_at"] == clock.at + delay
            assert str(error) in str(rows(database)["a"]["last_error"])
            clock.at += delay
            runner.wake()
    assert "a" in rows(database)
    assert level in {record.levelno for record in caplog.records}
    assert any(record.exc_info for record in caplog.records) == isinstance(error, ValueError)


async def test_a_handler_that_forgets_its_job_is_not_run_in_a_hot_loop(
    database: Database, clock: FakeClock
) -> None:
    tries: list[str] = []

    async def handle(subject: str) -> None:
        tries.append(subject)

    await add(database, "a")
    async with running(database, clock, {"work": handle}):
        await until(lambda: rows(database)["a"]["attempts"] == 1)
        assert tries == ["a"]
        assert rows(database)["a"]["run_at"] == NOW + 1


async def test_a_handler_may_finish_its_job_and_add_the_next_in_one_transaction(
    database: Database, clock: FakeClock
) -> None:
    tries: list[str] = []

    async def handle(subject: str) -> None:
        tries.append(subject)

        def unit(tx: object) -> None:
            jobs.done(tx, "work", subject)
            if len(tries) < 3:
                jobs.add(tx, "work", subject)

        await database.write(unit)

    await add(database, "a")
    async with running(database, clock, {"work": handle}):
        await until(lambda: not rows(database))
    assert tries == ["a", "a", "a"]


async def test_a_clock_that_steps_back_starts_nothing(database: Database, clock: FakeClock) -> None:
    finished: list[str] = []
    await add(database, "a")
    clock.at -= 3600
    async with running(database, clock, {"work": finishing(database, finished)}):
        for _ in range(20):
            await asyncio.sleep(0)
        assert finished == []
    assert "a" in rows(database)


@pytest.mark.clause("BR 4.9.3")
async def test_what_revokes_is_started_though_the_clock_stepped_back(
    database: Database, clock: FakeClock
) -> None:
    finished: list[str] = []

    async def handle(subject: str) -> None:
        await database.write(lambda tx: jobs.done(tx, "revoking", subject), at_any_time=True)
        finished.append(subject)

    await add(database, "a", kind="revoking")
    await add(database, "b")
    clock.at -= 3600
    handlers = {"work": finishing(database, finished), "revoking": handle}
    runner = JobRunner(database, clock, handlers, at_any_time={"revoking"})
    task = asyncio.create_task(runner.run())
    await until(lambda: finished == ["a"])
    await runner.close()
    await task
    assert rows(database).keys() == {"b"}


async def test_a_job_that_is_cut_off_by_a_stop_is_still_there(database: Database, clock: FakeClock) -> None:
    started = asyncio.Event()

    async def handle(subject: str) -> None:
        started.set()
        await asyncio.Event().wait()

    await add(database, "a")
    runner = JobRunner(database, clock, {"work": handle})
    task = asyncio.create_task(runner.run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rows(database)["a"]["attempts"] == 0


async def test_jobs_of_a_kind_that_nobody_handles_are_left_alone(
    database: Database, clock: FakeClock
) -> None:
    finished: list[str] = []
    await add(database, "x", kind="of-newer-software")
    await add(database, "a")
    async with running(database, clock, {"work": finishing(database, finished)}):
        await until(lambda: finished == ["a"])
    assert list(rows(database)) == ["x"]


async def test_outcomes_are_counted(database: Database, clock: FakeClock) -> None:
    def count() -> float:
        return metrics.REGISTRY.get_sample_value("acme_jobs_total", {"kind": "work", "outcome": "done"}) or 0

    before = count()
    finished: list[str] = []
    await add(database, "a", "b")
    async with running(database, clock, {"work": finishing(database, finished)}):
        await until(lambda: count() == before + 2)
    assert b"acme_jobs_total" in metrics.render()
