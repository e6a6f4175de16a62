"""The steps of problem reports, by the operator's hand: answered, decided, closed; one, or a flood of them.

A campaign brings five hundred reports of one matter.  They are answered by one command, page by page, each
page one transaction with an event and an audit record for each report.  A report with which a step cannot be
taken is left alone and named; `dry_run` says beforehand what would be done.

Must never: close a report that was not answered; begin a revocation whose clock starts later than a report.

BR 4.9.3, 4.9.5; CPS 1.5.2; requirements 2.55-2.57.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from acme_server.registration import revocation_run
from acme_server.store import revocation_runs
from acme_server.store.revocation_runs import Phase, Run
from core import caller, report_rows
from core.causes import Cause, reason_of
from core.data_directory import DataDirectory
from core.database import Database, Rows, Transaction
from core.errors import Refused
from core.problem_reports import Report
from core.randomness import Randomness
from core.rpc import Method, RpcServer
from operations.desk import local_api, report_looks
from operations.desk.problem_report_api import (
    ANSWER,
    CLOSE,
    DECIDE,
    AnswerRequest,
    CloseRequest,
    DecideRequest,
    Done,
    Line,
    NotDone,
)

AT_ONCE = 100
"""Reports in one transaction: others wait for it."""

MAX_NOTE = 4000
"""Characters of an answer or a note."""

P = TypeVar("P")

Requested = AnswerRequest | DecideRequest | CloseRequest


def serve(
    answering: RpcServer, database: Database, randomness: Randomness, wake_jobs: Callable[[], None]
) -> None:
    """Add the app's side to the operator's socket."""

    async def answer(request: AnswerRequest) -> Done:
        text, told = said("--text", request.text), said("--told", request.told)
        japanese = said("--text-ja", request.text_ja) if request.text_ja else text

        def step(tx: Transaction, report: Report) -> None:
            number = report.filed.number
            report_rows.answer(tx, number, japanese if report.filed.language == "ja" else text)
            _record(tx, number, request.actor, "answered", told)

        if request.dry_run:
            return await database.read(lambda rows: _would(rows, request, _may_be_answered))
        return await database.write(lambda tx: _each(tx, request, _may_be_answered, step), at_any_time=True)

    async def decide(request: DecideRequest) -> Done:
        note = said("--note", request.note)
        new_run = randomness.octets(4).hex()

        def unit(tx: Transaction) -> Done:
            reports, _ = _sorted_out(tx, request, _may_be_decided)
            serials = _named(tx, reports, request) if request.cause and reports else ()
            run_id = _run(tx, reports, request, serials, note, new_run) if request.cause and reports else ""
            what = f"{request.cause} (run {run_id})" if request.cause else "nothing is revoked"

            def step(tx: Transaction, report: Report) -> None:
                report_rows.decide(tx, report.filed.number, request.cause, run_id)
                _record(tx, report.filed.number, request.actor, "decided", f"{what}: {note}")

            return _each(tx, request, _may_be_decided, step, serials)

        def look(rows: Rows) -> Done:
            reports, _ = _sorted_out(rows, request, _may_be_decided)
            serials = _named(rows, reports, request) if request.cause and reports else ()
            return _would(rows, request, _may_be_decided, serials)

        if request.dry_run:
            return await database.read(look)
        done = await database.write(unit, at_any_time=True)  # BR 4.9.3
        wake_jobs()
        return done

    async def close(request: CloseRequest) -> Done:
        note = said("--note", request.note)

        def step(tx: Transaction, report: Report) -> None:
            report_rows.close(tx, report.filed.number)
            _record(tx, report.filed.number, request.actor, "closed", note)

        if request.dry_run:
            return await database.read(lambda rows: _would(rows, request, _may_be_closed))
        return await database.write(lambda tx: _each(tx, request, _may_be_closed, step), at_any_time=True)

    answering.add(ANSWER, answer)
    answering.add(DECIDE, decide)
    answering.add(CLOSE, close)


class Steps:
    """The command line's side of one running CA, for the reports `numbers`.

    All return what was done, or with `dry_run` would be.  Raise `Refused`, of a single report or of a whole
    page, or `TransientError` when no app runs here; pages that were done stay done.
    """

    def __init__(self, data: DataDirectory, numbers: Sequence[str], *, dry_run: bool = False) -> None:
        self._data = data
        self._numbers = tuple(dict.fromkeys(numbers))
        self._dry_run = dry_run

    def answer(self, text: str, text_ja: str, told: str) -> Done:
        """The preliminary report was given."""
        return self._pages(
            ANSWER,
            lambda page: AnswerRequest(page, text, text_ja, told, self._dry_run, caller.claimed()),
        )

    def decide(self, cause: str, serials: tuple[bytes, ...], run_id: str, note: str) -> Done:
        """What is to be done."""
        return self._pages(
            DECIDE,
            lambda page: DecideRequest(page, cause, serials, run_id, note, self._dry_run, caller.claimed()),
        )

    def close(self, note: str) -> Done:
        """Nothing more is to be done."""
        return self._pages(CLOSE, lambda page: CloseRequest(page, note, self._dry_run, caller.claimed()))

    def _pages(self, method: Method[P, Done], request: Callable[[tuple[str, ...]], P]) -> Done:
        total = Done((), ())
        for first in range(0, len(self._numbers), AT_ONCE):
            page = local_api.call(self._data, method, request(self._numbers[first : first + AT_ONCE]))
            total = Done(
                total.reports + page.reports,
                total.refused + page.refused,
                tuple(dict.fromkeys(total.serials + page.serials)),
            )
        return total


def said(option: str, text: str, most: int = MAX_NOTE) -> str:
    """The text, if it says something.  Raises `Refused`."""
    if not text.strip() or len(text) > most:
        raise Refused("report.text", f"{option}: say it in 1 to {most} characters")
    return text.strip()


def _each(
    tx: Transaction,
    request: Requested,
    may: Callable[[Report], None],
    step: Callable[[Transaction, Report], None],
    serials: tuple[bytes, ...] = (),
) -> Done:
    """Take the step with each report with which it may be taken."""
    reports, refused = _sorted_out(tx, request, may)
    for report in reports:
        step(tx, report)
    return Done(_lines(tx, reports), refused, serials)


def _would(
    rows: Rows, request: Requested, may: Callable[[Report], None], serials: tuple[bytes, ...] = ()
) -> Done:
    reports, refused = _sorted_out(rows, request, may)
    return Done(_lines(rows, reports), refused, serials)


def _lines(rows: Rows, reports: Sequence[Report]) -> tuple[Line, ...]:
    """As they stand now."""
    return tuple(report_looks.line(rows, report_looks.by_number(rows, each.filed.number)) for each in reports)


def _sorted_out(
    rows: Rows, request: Requested, may: Callable[[Report], None]
) -> tuple[list[Report], tuple[NotDone, ...]]:
    """The reports with which it may be done, and the others; that of a single one is the whole's refusal."""
    if not 0 < len(request.numbers) <= AT_ONCE:
        raise Refused("report.numbers", f"1 to {AT_ONCE} reports in one request")
    reports, refused = [], []
    for number in request.numbers:
        try:
            report = report_looks.open_report(rows, number)
            may(report)
        except Refused as error:
            if len(request.numbers) == 1:
                raise
            refused.append(NotDone(number, error.detail))
        else:
            reports.append(report)
    return reports, tuple(refused)


def _may_be_answered(report: Report) -> None:
    """Any that is open, again if need be."""


def _may_be_decided(report: Report) -> None:
    """Again if need be; not what a proof has decided (operations/report_intake.py), which begins no run."""
    if report.cause == Cause.KEY_COMPROMISE and not report.run_id:
        raise Refused(
            "report.proven", "its key compromise is proven, and all is revoked: answer it, and close it"
        )


def _may_be_closed(report: Report) -> None:
    if report.answered_at is None:
        raise Refused(
            "report.not-answered",
            "reporter and subscriber must have a preliminary report (BR 4.9.5): acme-server reports answer",
        )
    if report.decided_at is None:
        raise Refused("report.not-decided", "decide first: acme-server reports decide")
    if report.cause and report.revoked_at is None:
        raise Refused("report.not-published", "its revocations are not on public CRLs yet: wait for them")


def _named(rows: Rows, reports: Sequence[Report], request: DecideRequest) -> tuple[bytes, ...]:
    """What a new run would revoke: the serial numbers given, or those of ours that the reports name.

    Raises `Refused` where there are none, in a dry run, too.
    """
    if request.serials or request.run_id:
        return request.serials
    found = (each.serial for report in reports for each in report_looks.concerned(rows, report))
    if not (serials := tuple(dict.fromkeys(found))):
        raise Refused(
            "report.nothing",
            "no certificate of ours is named: name them with --serial, or revoke them with "
            "`acme-server revoke` (--name DOMAIN finds a domain's) and name its --run",
        )
    return serials


def _run(
    tx: Transaction,
    reports: Sequence[Report],
    request: DecideRequest,
    serials: tuple[bytes, ...],
    note: str,
    new_run: str,
) -> str:
    """The run that revokes for the reports: the one that is named, or a new one over the certificates."""
    try:
        cause = Cause(request.cause)
    except ValueError:
        raise Refused("report.cause", f"--cause: one of {', '.join(Cause)}") from None
    first = min(reports, key=lambda each: each.filed.received_at).filed
    if request.run_id:
        known = revocation_runs.by_id(tx, request.run_id)
        if known is None or known.cause is not cause:
            raise Refused("report.run", "--run: no run of that cause; `acme-server revocations` lists them")
        if known.learned_at > first.received_at:
            raise Refused("report.run", f"--run: its clock began after report {first.number} was received")
        return known.id
    more = f" and {len(reports) - 1} more" if len(reports) > 1 else ""
    run = Run(
        id=new_run,
        cause=cause,
        reason=reason_of(cause, None),
        note=f"problem report {first.number}{more}: {note}"[: revocation_run.MAX_NOTE],
        selection=None,
        learned_at=first.received_at,
        began_at=tx.now,
        began_by=request.actor,
        phase=Phase.GATHERING,
        cursor=0,
        until=0,
    )
    revocation_run.begin(tx, run)
    if unknown := revocation_run.name(tx, new_run, serials):
        raise Refused("report.unknown", f"never issued here: {', '.join(each.hex() for each in unknown)}")
    revocation_run.start(tx, new_run)
    return new_run


def _record(tx: Transaction, number: str, actor: str, event: str, note: str) -> None:
    actor = f"operator {actor}"
    report_rows.add_event(tx, number, actor, event, note)
    tx.audit(f"problem-report-{event}", actor, {"number": number})
