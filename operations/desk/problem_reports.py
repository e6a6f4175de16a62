"""`acme-server reports`: problem reports seen, answered, decided and closed through the running app.

Must never: close a report that was not answered; begin a revocation whose clock starts later than the report.

BR 4.9.3, 4.9.5; CPS 1.5.2; requirements 2.55-2.57.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from acme_server.registration import revocation_run
from acme_server.store import accounts, revocation_runs
from acme_server.store.revocation_runs import Phase, Run
from core import caller, certificates, compromise, report_rows
from core.causes import Cause, reason_of
from core.data_directory import DataDirectory
from core.database import Database, Rows, Transaction
from core.errors import Refused
from core.problem_reports import (
    MOST_CONTACT,
    MOST_DESCRIPTION,
    Channel,
    Filed,
    Kind,
    Report,
    deadlines,
    draw_number,
    is_number,
)
from core.randomness import Randomness
from core.rpc import RpcServer
from operations.desk import local_api
from operations.desk.problem_report_api import (
    ADD,
    ANSWER,
    CLOSE,
    DECIDE,
    LIST,
    SHOW,
    AddRequest,
    AnswerRequest,
    Clock,
    CloseRequest,
    Concerned,
    DecideRequest,
    Event,
    Line,
    ListRequest,
    Page,
    Shown,
    ShowRequest,
)

LISTED = 200
"""Reports in a list."""

MAX_NOTE = 4000
"""Characters of an answer or a note."""


def serve(
    answering: RpcServer,
    database: Database,
    randomness: Randomness,
    wake_jobs: Callable[[], None],
) -> None:
    """Add the app's side to the operator's socket."""

    async def list_(request: ListRequest) -> Page:
        def look(rows: Rows) -> Page:
            found = report_rows.newest(rows, LISTED) if request.closed else report_rows.open_ones(rows)
            return Page(tuple(_line(rows, each) for each in found[:LISTED]))

        return await database.read(look)

    async def show(request: ShowRequest) -> Shown:
        return await database.read(lambda rows: _shown(rows, _report(rows, request.number)))

    async def answer(request: AnswerRequest) -> Line:
        text = _said("--text", request.text)
        told = _said("--told", request.told)

        def unit(tx: Transaction) -> Line:
            _open(tx, request.number)
            report_rows.answer(tx, request.number, text)
            _step(tx, request.number, request.actor, "answered", told)
            return _line(tx, _report(tx, request.number))

        return await database.write(unit, at_any_time=True)

    async def decide(request: DecideRequest) -> Shown:
        note = _said("--note", request.note)
        new_run = randomness.octets(4).hex()

        def unit(tx: Transaction) -> Shown:
            report = _open(tx, request.number)
            run_id = _run(tx, report, request, note, new_run) if request.cause else ""
            report_rows.decide(tx, request.number, request.cause, run_id)
            what = f"{request.cause} (run {run_id})" if request.cause else "nothing is revoked"
            _step(tx, request.number, request.actor, "decided", f"{what}: {note}")
            return _shown(tx, _report(tx, request.number))

        shown = await database.write(unit, at_any_time=True)  # BR 4.9.3
        wake_jobs()
        return shown

    async def close(request: CloseRequest) -> Line:
        note = _said("--note", request.note)

        def unit(tx: Transaction) -> Line:
            report = _open(tx, request.number)
            if report.answered_at is None:
                raise Refused(
                    "report.not-answered",
                    "reporter and subscriber must have a preliminary report (BR 4.9.5): "
                    "acme-server reports answer",
                )
            if report.decided_at is None:
                raise Refused("report.not-decided", "decide first: acme-server reports decide")
            if report.cause and report.revoked_at is None:
                raise Refused(
                    "report.not-published", "its revocations are not on public CRLs yet: wait for them"
                )
            report_rows.close(tx, request.number)
            _step(tx, request.number, request.actor, "closed", note)
            return _line(tx, _report(tx, request.number))

        return await database.write(unit, at_any_time=True)

    async def add(request: AddRequest) -> Line:
        description = _said("--description", request.description, MOST_DESCRIPTION)
        if len(request.contact) > MOST_CONTACT:
            raise Refused("report.contact", f"--contact: at most {MOST_CONTACT} characters")
        day = datetime.fromtimestamp(request.received_at, UTC).strftime("%Y%m%d")
        filed = Filed(
            number=draw_number(randomness, day),
            received_at=request.received_at,
            channel=request.channel,
            kind=request.kind,
            language="en",
            serials=tuple(each.hex() for each in request.serials),
            keys=(),
            names=request.names,
            description=description,
            contact=request.contact,
        )

        def unit(tx: Transaction) -> Line:
            if request.received_at > tx.now:
                raise Refused("report.received", "--received: it cannot have come later than now")
            if not report_rows.insert(tx, filed, actor=f"operator {request.actor}"):
                raise Refused("report.number", "this number is taken: once more")
            return _line(tx, _report(tx, filed.number))

        return await database.write(unit, at_any_time=True)

    answering.add(LIST, list_)
    answering.add(SHOW, show)
    answering.add(ANSWER, answer)
    answering.add(DECIDE, decide)
    answering.add(CLOSE, close)
    answering.add(ADD, add)


def list_all(data: DataDirectory, closed: bool) -> tuple[Line, ...]:
    """The command line's side.  Raises `Refused`, or `TransientError` when no app runs here; as all below."""
    return local_api.call(data, LIST, ListRequest(closed)).reports


def show(data: DataDirectory, number: str) -> Shown:
    """All of a report."""
    return local_api.call(data, SHOW, ShowRequest(number))


def answer(data: DataDirectory, number: str, text: str, told: str) -> Line:
    """The preliminary report was given."""
    return local_api.call(data, ANSWER, AnswerRequest(number, text, told, caller.claimed()))


def decide(
    data: DataDirectory, number: str, cause: str, serials: tuple[bytes, ...], run_id: str, note: str
) -> Shown:
    """What is to be done."""
    request = DecideRequest(number, cause, serials, run_id, note, caller.claimed())
    return local_api.call(data, DECIDE, request)


def close(data: DataDirectory, number: str, note: str) -> Line:
    """Nothing more is to be done."""
    return local_api.call(data, CLOSE, CloseRequest(number, note, caller.claimed()))


def add(
    data: DataDirectory,
    received_at: int,
    channel: Channel,
    kind: Kind,
    serials: tuple[bytes, ...],
    names: tuple[str, ...],
    description: str,
    contact: str,
) -> Line:
    """A report that came otherwise."""
    actor = caller.claimed()
    request = AddRequest(received_at, channel, kind, serials, names, description, contact, actor)
    return local_api.call(data, ADD, request)


def _run(tx: Transaction, report: Report, request: DecideRequest, note: str, new_run: str) -> str:
    """The run that revokes for the report: the one that is named, or a new one over its certificates."""
    try:
        cause = Cause(request.cause)
    except ValueError:
        raise Refused("report.cause", f"--cause: one of {', '.join(Cause)}") from None
    if request.run_id:
        known = revocation_runs.by_id(tx, request.run_id)
        if known is None or known.cause is not cause:
            raise Refused("report.run", "--run: no run of that cause; `acme-server revocations` lists them")
        if known.learned_at > report.filed.received_at:
            raise Refused("report.run", "--run: its clock began after the report was received")
        return known.id
    serials = request.serials or tuple(each.serial for each in _concerned(tx, report))
    if not serials:
        raise Refused(
            "report.nothing",
            "the report names no certificate of ours: name them with --serial, or revoke them with "
            "`acme-server revoke` and name its --run",
        )
    run = Run(
        id=new_run,
        cause=cause,
        reason=reason_of(cause, None),
        note=f"problem report {report.filed.number}: {note}"[: revocation_run.MAX_NOTE],
        selection=None,
        learned_at=report.filed.received_at,
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


def _concerned(rows: Rows, report: Report) -> list[Concerned]:
    """Those of ours that it names; by key only what a proving cause would revoke, the valid ones."""
    now = report.filed.received_at
    serials = [bytes.fromhex(each) for each in report.filed.serials]
    for key in report.filed.keys:
        serials += compromise.unexpired(rows, bytes.fromhex(key), now)
    found = []
    for serial in dict.fromkeys(serials):
        certificate = certificates.by_serial(rows, serial)
        if certificate is None or certificates.status_of(rows, serial) is None:
            continue
        revocation = certificates.revocation_of(rows, serial)
        url = certificate.account_url or ""
        account = accounts.by_id(rows, url.rpartition("/")[2])
        found.append(
            Concerned(
                serial,
                certificate.names,
                certificate.not_after,
                None if revocation is None else revocation.revoked_at,
                url,
                () if account is None else account.contact,
            )
        )
    return found


def _report(rows: Rows, number: str) -> Report:
    report = report_rows.by_number(rows, number) if is_number(number) else None
    if report is None:
        raise Refused(
            "report.unknown", f"there is no report {number!r}; `acme-server reports list` shows them"
        )
    return report


def _open(rows: Rows, number: str) -> Report:
    report = _report(rows, number)
    if report.closed_at is not None:
        raise Refused("report.closed", f"{number} is closed: a new finding is a new report (reports add)")
    return report


def _said(option: str, text: str, most: int = MAX_NOTE) -> str:
    if not text.strip() or len(text) > most:
        raise Refused("report.text", f"{option}: say it in 1 to {most} characters")
    return text.strip()


def _step(tx: Transaction, number: str, actor: str, event: str, note: str) -> None:
    actor = f"operator {actor}"
    report_rows.add_event(tx, number, actor, event, note)
    tx.audit(f"problem-report-{event}", actor, {"number": number})


def _line(rows: Rows, report: Report) -> Line:
    filed = report.filed
    return Line(
        filed.number,
        report.state,
        filed.kind,
        filed.channel,
        filed.received_at,
        report_rows.proven_key(rows, filed.number) is not None,
        tuple(Clock(each.step, each.due, each.met_at) for each in deadlines(report)),
    )


def _shown(rows: Rows, report: Report) -> Shown:
    filed = report.filed
    return Shown(
        _line(rows, report),
        filed.serials,
        filed.keys,
        filed.names,
        filed.description,
        filed.contact,
        filed.language,
        report.answer,
        report.cause,
        report.run_id,
        tuple(_concerned(rows, report)),
        tuple(Event(e.at, e.actor, e.event, e.note) for e in report_rows.events(rows, filed.number)),
    )
