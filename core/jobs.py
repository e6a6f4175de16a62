"""Work that outlives the process: the row is the job.

A job is added in the transaction that makes it necessary and removed by its own handler in the transaction
that finishes it, so a killed process loses nothing and does nothing twice.  One runner takes the due rows of
this process; the lease columns are for many runners on one database and stay NULL here.

A handler that raises keeps its row: `TransientError` is tried again with a growing delay, `HaltIssuance`
slowly until a person has acted, and anything else is a fault of ours, logged with its traceback and tried
again.

Must never: drop a job, or hold a transaction while a handler runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress

from core import metrics
from core.clock import Clock
from core.database import Database, Row, Rows, Transaction
from core.errors import CaError, HaltIssuance, TransientError

LONGEST_DELAY = 60
"""Seconds between two tries at most: short enough that a fault put right is soon forgotten."""

HALT_DELAY = 60
"""Seconds: only a person can help, so trying often helps nobody."""

CONCURRENCY = 64
"""Jobs of one kind that run at once, unless told otherwise."""

CLOSE_GRACE = 5.0
"""Seconds that jobs under way get to finish; whatever is cut off is still a row."""

Handler = Callable[[str], Awaitable[None]]

_log = logging.getLogger(__name__)


def add(tx: Transaction, kind: str, subject: str, run_at: int | None = None) -> None:
    """Add a job, due at once or at `run_at`; one that is there already becomes due no later than that.

    Call `JobRunner.wake` after the commit, or it waits for the next look at the table.
    """
    tx.execute(
        "INSERT INTO jobs (kind, subject, run_at) VALUES (?, ?, ?)"
        " ON CONFLICT (kind, subject) DO UPDATE SET run_at = MIN(run_at, excluded.run_at)",
        (kind, subject, tx.now if run_at is None else run_at),
    )


def done(tx: Transaction, kind: str, subject: str) -> None:
    """Remove a job, in the transaction of its result."""
    tx.execute("DELETE FROM jobs WHERE kind = ? AND subject = ?", (kind, subject))


def waiting(rows: Rows, kind: str, most: int) -> int:
    """How many jobs of the kind there are, running ones too; counted up to `most`."""
    row = rows.one("SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE kind = ? LIMIT ?)", (kind, most))
    assert row is not None
    return int(row[0])


def hasten(tx: Transaction, kind: str) -> None:
    """What was put off is due now: the cause of the failures has gone.  Then call `JobRunner.wake`."""
    tx.execute(
        "UPDATE jobs SET run_at = ? WHERE kind = ? AND attempts > 0 AND run_at > ?", (tx.now, kind, tx.now)
    )


class JobRunner:
    """Runs the due jobs of a database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handlers: Mapping[str, Handler],
        concurrency: int | Mapping[str, int] = CONCURRENCY,
        at_any_time: Collection[str] = (),
    ) -> None:
        """`handlers` by kind; `concurrency` for every kind, or by kind.

        The kinds `at_any_time` are started though the clock stepped back: what revokes (BR 4.9.3).
        """
        self._database = database
        self._clock = clock
        self._handlers = handlers
        self._at_any_time = at_any_time
        self._limits = (
            dict.fromkeys(handlers, concurrency)
            if isinstance(concurrency, int)
            else {kind: concurrency.get(kind, CONCURRENCY) for kind in handlers}
        )
        self._running: dict[str, dict[int, asyncio.Task[None]]] = {kind: {} for kind in handlers}
        self._woken = asyncio.Event()
        self._closing = False

    def wake(self) -> None:
        """Look at the table now: a job was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Run jobs until `close` or cancellation."""
        try:
            while not self._closing:
                self._woken.clear()
                delay = self._start_due()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), delay)
        finally:
            await self._stop_all(CLOSE_GRACE if self._closing else 0)

    async def close(self) -> None:
        """Take no more jobs; those under way get `CLOSE_GRACE` seconds."""
        self._closing = True
        self.wake()
        await self._stop_all(CLOSE_GRACE)

    def _start_due(self) -> float:
        """Start what is due and fits; the seconds until the next look."""
        delay = float(LONGEST_DELAY)
        kinds: Collection[str] = self._running
        try:
            now = self._clock.now()
        except HaltIssuance as error:  # the clock stepped back
            now, kinds = self._clock.latest(), self._at_any_time
            _log.critical("no job is started but of %s: %s", ", ".join(kinds) or "no kind", error)
        for kind in kinds:
            running = self._running[kind]
            for row in self._next(kind, running):
                if row["run_at"] > now:
                    delay = min(delay, row["run_at"] - now)
                    break
                running[row["id"]] = asyncio.create_task(self._run(row), name=f"{kind} {row['subject']}")
        return delay

    def _next(self, kind: str, running: Mapping[int, object]) -> list[Row]:
        """The rows to start, soonest first, as many as may run; the last of them may not be due yet."""
        free = self._limits[kind] - len(running)
        if free <= 0:
            return []
        rows = self._database.reader.all(
            "SELECT id, kind, subject, attempts, run_at FROM jobs WHERE kind = ? ORDER BY run_at, id LIMIT ?",
            (kind, len(running) + free),
        )
        return [row for row in rows if row["id"] not in running][:free]

    async def _run(self, row: Row) -> None:
        kind = row["kind"]
        metrics.JOBS_RUNNING.labels(kind).inc()
        started = self._clock.monotonic()
        outcome = "cancelled"
        try:
            outcome = await self._handle(row)
        finally:
            metrics.JOBS.labels(kind, outcome).inc()
            metrics.JOB_SECONDS.labels(kind).observe(max(0.0, self._clock.monotonic() - started))
            metrics.JOBS_RUNNING.labels(kind).dec()
            self._running[kind].pop(row["id"], None)
            self.wake()

    async def _handle(self, row: Row) -> str:
        """Run the handler once; the outcome's name for the metrics."""
        try:
            await self._handlers[row["kind"]](row["subject"])
        except TransientError as error:
            _log.warning("%s %s: %s; trying again", row["kind"], row["subject"], error)
            await self._put_off(row, error, _back_off(row["attempts"]))
            return "transient"
        except HaltIssuance as error:
            _log.critical("%s %s: ISSUANCE HALTED: %s", row["kind"], row["subject"], error)
            await self._put_off(row, error, HALT_DELAY)
            return "halted"
        except Exception as error:
            _log.exception("%s %s failed; the job is kept", row["kind"], row["subject"])
            await self._put_off(row, error, _back_off(row["attempts"]))
            return "failed"
        if self._database.reader.one("SELECT 1 FROM jobs WHERE id = ?", (row["id"],)) is not None:
            _log.error("%s %s ended without removing its job; trying again", row["kind"], row["subject"])
            await self._put_off(row, CaError("the handler left its job"), _back_off(row["attempts"]))
            return "left"
        return "done"

    async def _put_off(self, row: Row, error: Exception, delay: int) -> None:
        def unit(tx: Transaction) -> None:
            tx.execute(
                "UPDATE jobs SET attempts = attempts + 1, run_at = ?, last_error = ? WHERE id = ?",
                (tx.now + delay, f"{type(error).__name__}: {error}"[:1000], row["id"]),
            )

        try:
            await self._database.write(unit)
        except Exception:
            # The database or the clock is in trouble, too.  Held here, the row is not taken again at once.
            _log.critical("%s %s: its delay was not written", row["kind"], row["subject"], exc_info=True)
            await asyncio.sleep(HALT_DELAY)

    async def _stop_all(self, grace: float) -> None:
        tasks = [task for running in self._running.values() for task in running.values()]
        if not tasks:
            return
        if grace:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _back_off(attempts: int) -> int:
    """Seconds after the `attempts`-th failure before this one: 1, 2, 4 ... `LONGEST_DELAY`."""
    return min(1 << min(attempts, 16), LONGEST_DELAY)
