"""Watches the clocks of problem reports: alarms at 50, 80 and 100 %, and when a revocation is public.

Each alarm is raised once, also across restarts: it is an event of the report, in the log and the audit log.

Must never: take a revocation for published before it stands on a public CRL.

BR 4.9.5; requirements 2.55, 2.57.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from core import metrics, report_rows
from core.clock import Clock
from core.database import Database, Rows, Transaction
from core.loops import for_ever
from core.problem_reports import Report, Step, deadlines

EVERY = 30.0
"""Seconds between two looks."""

ALARMS = (50, 80, 100)
"""Percent of a deadline's time."""

AT_ONCE = 200
"""Reports in one transaction: others wait for it."""

MOST_LINES = 20
"""Alarms of one look in the log, each by itself; a flood of reports would drown all else there."""

_ACTOR = "system"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Reports that are open, those with a step too late, and the next deadline: POSIX seconds, its part."""

    open: int
    late: int
    next_due: int | None
    used: float


class ReportWatch:
    """Looks at the open reports of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Look for ever."""
        await for_ever(self.look, EVERY, _log, "the clocks of problem reports are not watched")

    async def look(self) -> None:
        """Note what is published by now, and raise what is to be raised."""
        now = self._clock.latest()
        todo = _todo(self._database.reader, now)
        lines: list[str] = []
        for first in range(0, len(todo), AT_ONCE):
            page = todo[first : first + AT_ONCE]
            lines += await self._database.write(partial(_note, numbers=page), at_any_time=True)
        for line in lines[:MOST_LINES]:
            _log.error("%s", line)
        if len(lines) > MOST_LINES:
            _log.error("and %d more: acme-server reports list", len(lines) - MOST_LINES)
        found = await self._database.read(lambda rows: standing(rows, now))
        metrics.REPORTS_OPEN.set(found.open)
        metrics.REPORTS_LATE.set(found.late)
        metrics.REPORTS_USED.set(found.used)


def standing(rows: Rows, now: int) -> Standing:
    """How the open reports stand."""
    reports = report_rows.open_ones(rows)
    clocks = [[each for each in deadlines(report) if each.met_at is None] for report in reports]
    unmet = [each for several in clocks for each in several]
    nearest = min(unmet, key=lambda each: each.due, default=None)
    return Standing(
        open=len(reports),
        late=sum(any(each.is_late(now) for each in several) for several in clocks),
        next_due=None if nearest is None else nearest.due,
        used=max((each.part(now) for each in unmet), default=0.0),
    )


def sentence(found: Standing) -> str:
    """For people; "" when nothing is open."""
    if not found.open:
        return ""
    late = f", {found.late} TOO LATE" if found.late else ""
    due = (
        f", the next deadline {datetime.fromtimestamp(found.next_due, UTC):%Y-%m-%d %H:%M} UTC"
        f", {100 * found.used:.0f} % of a deadline is over"
        if found.next_due is not None
        else ""
    )
    return f"{found.open} problem reports are open{late}{due}: acme-server reports list"


def summary(rows: Rows, now: int) -> dict[str, Any]:
    """For `acme-server status`."""
    found = standing(rows, now)
    return {
        "open": found.open,
        "late": found.late,
        "next_due": found.next_due,
        "alarm": 100 * found.used >= ALARMS[0],
        "says": sentence(found),
    }


def published(rows: Rows, report: Report) -> int | None:
    """When the last certificate revoked for the report stood on a public CRL; None while one does not.

    Those of its run, and those with its proven key that had not expired when it was received.
    """
    number = report.filed.number
    if report.run_id:
        run = rows.one("SELECT ended_at FROM revocation_runs WHERE id = ?", (report.run_id,))
        if run is None or run["ended_at"] is None:
            return None
    row = rows.one(
        "WITH chosen AS ("
        " SELECT serial FROM revocation_targets WHERE run_id = ? AND outcome IS NOT 'expired'"
        " UNION SELECT c.serial FROM problem_reports p JOIN certificates c ON c.spki_sha256 = p.proven_key"
        "  WHERE p.number = ? AND c.not_after >= p.received_at AND c.state NOT IN ('reserved', 'abandoned'))"
        " SELECT COUNT(*) AS n, COUNT(r.published_at) AS there, MAX(r.published_at) AS last"
        " FROM chosen LEFT JOIN revocations r ON r.serial = chosen.serial",
        (report.run_id, number),
    )
    assert row is not None
    if row["n"] != row["there"]:
        return None
    # Nothing to revoke at all, as of a key that no valid certificate has: done with the decision.
    return report.decided_at if row["last"] is None else max(row["last"], report.decided_at or 0)


def _todo(rows: Rows, now: int) -> list[str]:
    """The numbers of those about which something is to be noted."""
    raised = report_rows.open_events(rows)
    return [
        each.filed.number
        for each in report_rows.open_ones(rows)
        if _is_public_now(rows, each) or _to_raise(each, raised, now)
    ]


def _is_public_now(rows: Rows, report: Report) -> bool:
    return bool(report.cause) and report.revoked_at is None and published(rows, report) is not None


def _note(tx: Transaction, numbers: Sequence[str]) -> list[str]:
    lines = []
    for number in numbers:
        report = report_rows.by_number(tx, number)
        if report is None or report.closed_at is not None:
            continue
        if _is_public_now(tx, report):
            at = published(tx, report)
            assert at is not None
            report_rows.revoked(tx, number, at)
            report_rows.add_event(tx, number, _ACTOR, "revocation-published")
            tx.audit("problem-report-revocation-published", _ACTOR, {"number": number, "at": at})
            report = report_rows.by_number(tx, number) or report
        raised = {(number, each.event) for each in report_rows.events(tx, number)}
        for step, percent in _to_raise(report, raised, tx.now):
            report_rows.add_event(tx, number, _ACTOR, _alarm(step, percent))
            tx.audit("problem-report-alarm", _ACTOR, {"number": number, "step": step, "percent": percent})
            lines.append(
                f"problem report {number}: {percent} % of the time to {step} is over "
                f"(acme-server reports show {number})"
            )
    return lines


def _to_raise(report: Report, raised: Container[tuple[str, str]], now: int) -> list[tuple[Step, int]]:
    """The alarms that are due and were not `raised`: (number, event)."""
    return [
        (each.step, percent)
        for each in deadlines(report)
        for percent in ALARMS
        if 100 * each.part(now) >= percent and (report.filed.number, _alarm(each.step, percent)) not in raised
    ]


def _alarm(step: Step, percent: int) -> str:
    return f"alarm {step} {percent}"
