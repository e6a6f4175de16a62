"""The commands of `acme-server reports`; what they do is in operations/desk/problem_reports.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from core.causes import RULES, Cause
from core.errors import ConfigurationError
from core.problem_reports import PRESUMED, Channel, Kind
from operations.commands import words
from operations.commands.command import command, group, say
from operations.commands.options import Reporting
from operations.screens import moment

if TYPE_CHECKING:
    from operations.desk.problem_report_api import Line, Shown

application = group("reports", "Problem reports: what strangers tell us, and its deadlines (BR 4.9.5).")

Number = Annotated[str, typer.Argument(help="The receipt number, as `list` shows it.")]
Note = Annotated[str, typer.Option(help="On what it rests; kept in the CA's records.")]


@command(application, "list")
def list_(
    given: Reporting,
    all_: Annotated[bool, typer.Option("--all", help="The newest ones, also the closed ones.")] = False,
) -> None:
    """List the open reports, the oldest first, each with its clocks."""
    from operations.desk import problem_reports

    found = problem_reports.list_all(given.directory(), all_)
    if given.json:
        say(json.dumps([asdict(each) for each in found], indent=2))
        return
    if not found:
        say("no problem report is open")
    for each in found:
        _tell_line(each)


@command(application)
def show(given: Reporting, number: Number) -> None:
    """Show all of a report: what was said, which certificates of ours, whose they are, what was done."""
    from operations.desk import problem_reports

    _tell(problem_reports.show(given.directory(), number), given.json)


@command(application)
def answer(
    given: Reporting,
    number: Number,
    text: Annotated[str, typer.Option(help="The preliminary report; the receipt page shows it.")],
    told: Annotated[str, typer.Option(help="How and when reporter and subscriber were told.")],
) -> None:
    """Record the preliminary report to reporter and subscriber, within 24 hours (BR 4.9.5)."""
    from operations.desk import problem_reports

    _tell_done(problem_reports.answer(given.directory(), number, text, told), given.json)


@command(application)
def decide(
    given: Reporting,
    number: Number,
    note: Note,
    cause: Annotated[Cause | None, typer.Option(help="Revoke for this cause (BR 4.9.1.1).")] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="Nothing is to be revoked.")] = False,
    serial: Annotated[
        list[str] | None, typer.Option(help="Revoke these; without it, all of ours that the report names.")
    ] = None,
    run: Annotated[str, typer.Option(help="A run of `revoke` that does it already.")] = "",
) -> None:
    """Decide: begin the revocation for a cause, its clock running since the report, or revoke nothing."""
    from operations.desk import problem_reports

    if (cause is None) is not nothing:
        raise ConfigurationError("say either --cause CAUSE or --nothing")
    if nothing and (serial or run):
        raise ConfigurationError("--serial and --run go with --cause")
    serials = tuple(words.serial(each) for each in serial or ())
    directory = given.directory()
    _tell(problem_reports.decide(directory, number, cause or "", serials, run, note), given.json)


@command(application)
def close(given: Reporting, number: Number, note: Note) -> None:
    """Close a report that was answered and decided, and whose revocations are public."""
    from operations.desk import problem_reports

    _tell_done(problem_reports.close(given.directory(), number, note), given.json)


@command(application)
def add(
    given: Reporting,
    received: Annotated[str, typer.Option(help="When it came: 2026-12-01T09:30Z (ISO 8601).")],
    channel: Annotated[Channel, typer.Option(help="How it came.")],
    kind: Annotated[Kind, typer.Option(help="What the reporter says it is.")],
    description: Annotated[str, typer.Option(help="What the reporter says.")],
    serial: Annotated[list[str] | None, typer.Option(help="A certificate.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="A domain.")] = None,
    contact: Annotated[str, typer.Option(help="How the reporter can be reached.")] = "",
) -> None:
    """Enter a report that came by mail or telephone; its clocks run since it was received."""
    from operations.desk import problem_reports

    done = problem_reports.add(
        given.directory(),
        words.time("--received", received),
        channel,
        kind,
        tuple(words.serial(each) for each in serial or ()),
        tuple(name or ()),
        description,
        contact,
    )
    _tell_done(done, given.json)


def _tell_done(line: Line, json_: bool) -> None:
    if json_:
        say(json.dumps(asdict(line), indent=2))
    else:
        _tell_line(line)


def _tell_line(line: Line) -> None:
    proven = ", key compromise PROVEN" if line.proven else ""
    say(f"{line.number}  {line.state}: {line.kind}, by {line.channel} {moment(line.received_at)}{proven}")
    for each in line.clocks:
        met = "" if each.met_at is None else f", done {moment(each.met_at)}"
        late = " TOO LATE" if each.met_at is not None and each.met_at > each.due else ""
        say(f"    {each.step:<8} by {moment(each.due)}{met}{late}")


def _tell(found: Shown, json_: bool) -> None:
    if json_:
        say(json.dumps(asdict(found), indent=2, default=bytes.hex))
        return
    _tell_line(found.line)
    for what, several in (("serials", found.serials), ("keys", found.keys), ("names", found.names)):
        if several:
            say(f"    {what:<8} {', '.join(several)}")
    if found.contact:
        say(f"    contact  {_one_line(found.contact)} ({found.language})")
    for line in found.description.splitlines():
        say(f"    | {_one_line(line)}")
    for each in found.certificates:
        state = "good" if each.revoked_at is None else f"revoked {moment(each.revoked_at)}"
        state += f", ends {moment(each.not_after)}"
        say(f"    ours     {each.serial.hex()}  {', '.join(each.names)}  {state}")
        if each.account_url:
            say(f"             {each.account_url} {', '.join(each.contact)}")
    if found.answer:
        say(f"    answer   {_one_line(found.answer)}")
    if found.cause:
        rule = RULES[Cause(found.cause)]
        run = f", run {found.run_id}" if found.run_id else ""
        say(f"    cause    {found.cause} ({rule.clause}){run}")
    elif presumed := PRESUMED.get(Kind(found.line.kind)):
        say(f"    if true  acme-server reports decide {found.line.number} --cause {presumed} --note TEXT")
    for event in found.events:
        say(f"    {moment(event.at)}  {event.actor}: {event.event} {_one_line(event.note)}")


def _one_line(text: str) -> str:
    """A stranger's text for a terminal: no line of it can be taken for ours, no escape reaches it."""
    return "".join(each if each.isprintable() else " " for each in text)
