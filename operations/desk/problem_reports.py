"""`acme-server reports`: problem reports listed, shown, chosen and entered through the running app.

What is done to them is in operations/desk/report_steps.py.

Must never: let a clock begin later than a report came.

BR 4.9.3, 4.9.5; CPS 1.5.2; requirements 2.55-2.57.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from core import caller, report_rows
from core.data_directory import DataDirectory
from core.database import Database, Rows, Transaction
from core.errors import Refused
from core.problem_reports import MOST_CONTACT, MOST_DESCRIPTION, Channel, Filed, Kind, draw_number
from core.randomness import Randomness
from core.rpc import RpcServer
from operations.desk import local_api, report_looks, report_steps
from operations.desk.problem_report_api import (
    ADD,
    CHOOSE,
    LIST,
    SHOW,
    AddRequest,
    Chosen,
    Conditions,
    Line,
    ListRequest,
    Page,
    Shown,
    ShowRequest,
)

LISTED = 200
"""Reports in a list."""


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
            return Page(tuple(report_looks.line(rows, each) for each in found[:LISTED]))

        return await database.read(look)

    async def show(request: ShowRequest) -> Shown:
        def look(rows: Rows) -> Shown:
            return report_looks.shown(rows, report_looks.by_number(rows, request.number))

        return await database.read(look)

    async def choose(request: Conditions) -> Chosen:
        if request == Conditions():
            raise Refused("report.conditions", "a missing condition is not all reports: name one")
        return Chosen(
            await database.read(
                lambda rows: report_rows.chosen(
                    rows, request.key, request.name, request.kind, request.decided
                )
            )
        )

    async def add(request: AddRequest) -> Line:
        description = report_steps.said("--description", request.description, MOST_DESCRIPTION)
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
            return report_looks.line(tx, report_looks.by_number(tx, filed.number))

        return await database.write(unit, at_any_time=True)

    answering.add(LIST, list_)
    answering.add(SHOW, show)
    answering.add(CHOOSE, choose)
    answering.add(ADD, add)
    report_steps.serve(answering, database, randomness, wake_jobs)


def list_all(data: DataDirectory, closed: bool) -> tuple[Line, ...]:
    """The command line's side.  Raises `Refused`, or `TransientError` when no app runs here; as all below."""
    return local_api.call(data, LIST, ListRequest(closed)).reports


def show(data: DataDirectory, number: str) -> Shown:
    """All of a report."""
    return local_api.call(data, SHOW, ShowRequest(number))


def choose(data: DataDirectory, conditions: Conditions) -> tuple[str, ...]:
    """The numbers of the open reports that meet all conditions, the oldest first."""
    return local_api.call(data, CHOOSE, conditions).numbers


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
