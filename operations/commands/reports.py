"""The commands of `acme-server reports`; what they do is in problem_reports.py and report_steps.py.

Must never: take a step with several reports before a person, or `--yes`, has agreed to the number.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from core.causes import RULES, Cause
from core.errors import ConfigurationError, Refused
from core.problem_reports import PRESUMED, Channel, Kind
from operations.commands import words
from operations.commands.command import command, group, say
from operations.commands.options import Options, Reporting
from operations.process import Exit
from operations.screens import moment

if TYPE_CHECKING:
    from operations.desk.problem_report_api import Done, Line, Shown
    from operations.desk.report_steps import Steps

application = group("reports", "Problem reports: what strangers tell us, and its deadlines (BR 4.9.5).")

SHOWN = 5
"""Numbers of several reports that are shown."""

Number = Annotated[str, typer.Argument(help="The receipt number, as `list` shows it.")]
Note = Annotated[str, typer.Option(help="On what it rests; kept in the CA's records.")]


@dataclass(frozen=True)
class Those(Options):
    """Open reports: by their numbers, or all that meet every condition given."""

    numbers: Annotated[
        list[str] | None, typer.Argument(metavar="[NUMBER]...", help="Receipt numbers, as `list` shows them.")
    ] = None
    key: Annotated[
        str,
        typer.Option(help="All that name this key: a file, or SHA-256 (hex) of its SubjectPublicKeyInfo."),
    ] = ""
    name: Annotated[str, typer.Option(help="All that name this domain.")] = ""
    kind: Annotated[Kind | None, typer.Option(help="All of this kind, as their reporters say.")] = None
    decided: Annotated[Cause | None, typer.Option(help="All that were decided for this cause.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; do nothing.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before several.")] = False

    def take(self, given: Reporting, step: Callable[[Steps], Done], doing: str) -> tuple[Done, bool]:
        """Take the step with them, once a person has agreed to several; and whether it was done.

        Raises `ConfigurationError` when nothing, or both ways, are chosen.
        """
        from operations.desk.report_steps import Steps

        numbers = self._numbers(given)
        directory = given.directory()
        if self.dry_run or (len(numbers) > 1 and not self.yes):
            would = step(Steps(directory, numbers, dry_run=True))
            if self.dry_run or not would.reports:
                return would, False
            _tell_several(would, f"would be {doing}", False)
            _must_agree(len(would.reports))
        return step(Steps(directory, numbers)), True

    def _numbers(self, given: Reporting) -> tuple[str, ...]:
        from operations.desk import problem_reports
        from operations.desk.problem_report_api import Conditions

        conditions = Conditions(
            words.spki(self.key), self.name.lower(), str(self.kind or ""), str(self.decided or "")
        )
        if bool(self.numbers) is (conditions != Conditions()):
            raise ConfigurationError(
                "choose by NUMBER, or by --key, --name, --kind and --decided, not both"
                if self.numbers
                else "nothing is chosen: name a NUMBER, or --key, --name, --kind, --decided"
            )
        found = tuple(self.numbers or ()) or problem_reports.choose(given.directory(), conditions)
        if not found:
            raise ConfigurationError("no open report meets these conditions: acme-server reports list")
        return found


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
    those: Those,
    given: Reporting,
    text: Annotated[str, typer.Option(help="The preliminary report; the receipt page shows it.")],
    told: Annotated[str, typer.Option(help="How and when reporter and subscriber were told.")],
    text_ja: Annotated[
        str, typer.Option(help="The same for those who reported in Japanese (`show` tells).")
    ] = "",
) -> int | None:
    """Record the preliminary report to reporter and subscriber, within 24 hours (BR 4.9.5)."""
    done, so = those.take(given, lambda steps: steps.answer(text, text_ja, told), "answered")
    return _tell_done(done, "answered", so, given)


@command(application)
def decide(
    those: Those,
    given: Reporting,
    note: Note,
    cause: Annotated[Cause | None, typer.Option(help="Revoke for this cause (BR 4.9.1.1).")] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="Nothing is to be revoked.")] = False,
    serial: Annotated[
        list[str] | None, typer.Option(help="Revoke these; without it, all of ours that the reports name.")
    ] = None,
    run: Annotated[str, typer.Option(help="A run of `revoke` that does it already.")] = "",
) -> int | None:
    """Decide: begin the revocation for a cause, its clock running since the report, or revoke nothing."""
    from operations.desk import problem_reports

    if (cause is None) is not nothing:
        raise ConfigurationError("say either --cause CAUSE or --nothing")
    if nothing and (serial or run):
        raise ConfigurationError("--serial and --run go with --cause")
    serials = tuple(words.serial(each) for each in serial or ())
    done, so = those.take(given, lambda steps: steps.decide(cause or "", serials, run, note), "decided")
    if so and len(done.reports) == 1 and not done.refused:
        _tell(problem_reports.show(given.directory(), done.reports[0].number), given.json)
        return None
    return _tell_done(done, "decided", so, given)


@command(application)
def close(those: Those, given: Reporting, note: Note) -> int | None:
    """Close reports that were answered and decided, and whose revocations are public."""
    done, so = those.take(given, lambda steps: steps.close(note), "closed")
    return _tell_done(done, "closed", so, given)


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
    _tell_one(done, given.json)


def _tell_done(done: Done, doing: str, so: bool, given: Reporting) -> int | None:
    """One report as ever; several by their number.  The exit code tells that some were left alone."""
    if so and len(done.reports) == 1 and not done.refused:
        _tell_one(done.reports[0], given.json)
    else:
        _tell_several(done, doing if so else f"would be {doing}", given.json)
    return Exit.REFUSED if done.refused else None


def _tell_several(done: Done, doing: str, json_: bool) -> None:
    if json_:
        say(json.dumps({"what": doing, **asdict(done)}, indent=2, default=bytes.hex))
        return
    say(f"{len(done.reports)} reports {doing}: {_some([each.number for each in done.reports])}")
    if done.serials:
        say(f"    revoked for it: {len(done.serials)}: {_some([each.hex() for each in done.serials])}")
    for each in done.refused:
        say(f"    left alone  {each.number}: {each.why}")


def _some(several: Sequence[str]) -> str:
    return ", ".join(several[:SHOWN]) + (" ..." if len(several) > SHOWN else "")


def _must_agree(count: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(f"there is no terminal to ask on: --yes does it with these {count} reports")
    if input("Type the number of reports to go on: ").strip() != str(count):
        raise Refused("report.agreement", "that is not the number: nothing is done")


def _tell_one(line: Line, json_: bool) -> None:
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
    say(f"    contact  {_one_line(found.contact) or 'none'}; the report is in {found.language}")
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
        for name in () if found.certificates else found.names[:SHOWN]:
            say(f"    look for acme-server revoke --name {shlex.quote(name)} --dry-run")
        say(f"    if true  acme-server reports decide {found.line.number} --cause {presumed} --note TEXT")
    for event in found.events:
        say(f"    {moment(event.at)}  {event.actor}: {event.event} {_one_line(event.note)}")


def _one_line(text: str) -> str:
    """A stranger's text for a terminal: no line of it can be taken for ours, no escape reaches it."""
    return "".join(each if each.isprintable() else " " for each in text)
