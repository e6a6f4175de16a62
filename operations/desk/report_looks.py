"""How a problem report is found and shown to an operator: its clocks, and the certificates that it names.

Must never: change anything.

BR 4.9.5.
"""

from __future__ import annotations

from acme_server.store import accounts
from core import certificates, compromise, report_rows, revocations
from core.database import Rows
from core.errors import Refused
from core.problem_reports import Report, deadlines, is_number
from operations.desk.problem_report_api import Clock, Concerned, Event, Line, Shown


def by_number(rows: Rows, number: str) -> Report:
    """One report.  Raises `Refused`."""
    report = report_rows.by_number(rows, number) if is_number(number) else None
    if report is None:
        raise Refused(
            "report.unknown", f"there is no report {number!r}; `acme-server reports list` shows them"
        )
    return report


def open_report(rows: Rows, number: str) -> Report:
    """One that is not closed.  Raises `Refused`."""
    report = by_number(rows, number)
    if report.closed_at is not None:
        raise Refused("report.closed", f"{number} is closed: a new finding is a new report (reports add)")
    return report


def concerned(rows: Rows, report: Report) -> list[Concerned]:
    """Those of ours that it names; by key only what a proving cause would revoke, the valid ones."""
    now = report.filed.received_at
    serials = [bytes.fromhex(each) for each in report.filed.serials]
    for key in report.filed.keys:
        serials += compromise.unexpired(rows, bytes.fromhex(key), now)
    found = []
    for serial in dict.fromkeys(serials):
        certificate = certificates.by_serial(rows, serial)
        if certificate is None or revocations.status_of(rows, serial) is None:
            continue
        revocation = revocations.of(rows, serial)
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


def line(rows: Rows, report: Report) -> Line:
    """A report in a list."""
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


def shown(rows: Rows, report: Report) -> Shown:
    """All of a report."""
    filed = report.filed
    return Shown(
        line(rows, report),
        filed.serials,
        filed.keys,
        filed.names,
        filed.description,
        filed.contact,
        filed.language,
        report.answer,
        report.cause,
        report.run_id,
        tuple(concerned(rows, report)),
        tuple(Event(e.at, e.actor, e.event, e.note) for e in report_rows.events(rows, filed.number)),
    )
