"""The commands of `acme-server incident`; what they do is in operations/desk/incident.py.

Must never: put in a list of serial numbers of which one is none of ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import ConfigurationError, Refused
from operations.commands import words
from operations.commands.choosing import Choice
from operations.commands.command import command, group, say
from operations.commands.options import Reporting
from operations.desk import local_api

if TYPE_CHECKING:
    from acme_server.registration.incident import Page
    from acme_server.store.incidents import Incident
    from acme_server.store.selection import Selection
    from operations.desk.incident import Operator

application = group("incident", "Certificates that must be renewed now: their renewal windows move (ARI).")

Id = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]

PROGRESS = 10_000
"""Certificates between two lines of progress."""


@command(application, "open")
def open_(
    choice: Choice,
    given: Reporting,
    title: Annotated[str, typer.Option(help="What it is about: for you and the audit log.")],
    renew_by: Annotated[
        str, typer.Option(help="When the certificates must have been replaced, like 2026-12-05T12:00Z.")
    ],
    explanation: Annotated[str, typer.Option(metavar="URL", help="A page that clients show people.")] = "",
) -> None:
    """Open an incident and put certificates in: clients that ask renew them before the time is over.

    Their windows are spread over the time there is, so that they do not all come at once.  Nothing is revoked
    by this.
    """
    named, chosen = choice.made()
    until = words.time("--renew-by", renew_by)

    async def work(operator: Operator) -> None:
        if await _only_counted(given.directory(), named, chosen, choice.dry_run, given.json):
            return
        incident = await operator.open(title, explanation, until)
        if not given.json:
            say(f"incident {incident.id} is open")
        page = await _put_in(operator, incident.id, named, chosen)
        if not given.json:
            asked = given.settings().renewal.retry_after
            say(f"clients that ask hear of it within {asked / 3600:g} h")
        _tell_page(incident.id, page, given.json)

    _ask(given, work)


@command(application)
def add(choice: Choice, given: Reporting, incident: Id) -> None:
    """Put more certificates in.

    What is in stays as it is: run it again after an interruption, or for what was issued meanwhile.
    """
    named, chosen = choice.made()

    async def work(operator: Operator) -> None:
        if not await _only_counted(given.directory(), named, chosen, choice.dry_run, given.json):
            _tell_page(incident, await _put_in(operator, incident, named, chosen), given.json)
        return

    _ask(given, work)


@command(application, "list")
def list_(given: Reporting) -> None:
    """List the incidents, the open ones first."""

    async def work(operator: Operator) -> None:
        found = await operator.list()
        if given.json:
            say(json.dumps([asdict(each) for each in found], indent=2))
        for each in () if given.json else found:
            say(_line(each))
        if not found and not given.json:
            say("there is no incident")

    _ask(given, work)


@command(application)
def show(
    given: Reporting,
    incident: Id,
    serials: Annotated[
        str,
        typer.Option(
            metavar="FATE", help="Print the serial numbers instead: left, replaced, revoked ..., all."
        ),
    ] = "",
) -> None:
    """Show how far it is: how many certificates are replaced, revoked, expired, and left.

    `incident show ID --serials left | acme-server revoke --serials - ...` goes on with the others.
    """
    from acme_server.store.incidents import Fate

    wanted = {serials} if serials in tuple(Fate) else set(Fate)
    if serials not in (*Fate, "all", ""):
        raise ConfigurationError(f"--serials: {serials!r} is none of {', '.join(Fate)}, all")

    def print_it(serial: bytes, fate: Fate) -> None:
        if serials and fate in wanted:
            say(serial.hex())

    async def work(operator: Operator) -> None:
        found = await operator.show(incident)
        counts = await operator.fates(incident, print_it)
        numbers = {fate.value: counts[fate] for fate in Fate}
        if serials:
            return
        if given.json:
            say(json.dumps(asdict(found) | numbers))
            return
        say(_line(found))
        say("  " + ", ".join(f"{number} {fate}" for fate, number in numbers.items()))
        if found.explanation_url:
            say(f"  {found.explanation_url}")

    _ask(given, work)


@command(application)
def close(given: Reporting, incident: Id) -> None:
    """Close it: its certificates have their usual windows again, the revoked ones a window in the past."""

    async def work(operator: Operator) -> None:
        closed = await operator.end(incident)
        say(json.dumps(asdict(closed)) if given.json else _line(closed))

    _ask(given, work)


async def _only_counted(
    directory: Any, named: list[bytes], chosen: Selection, dry_run: bool, json_: bool
) -> bool:
    """Count when only that is wanted; a list must be whole in any case.  Raises `Refused`."""
    from operations.desk import revoke

    counting = revoke.Operator(directory)
    try:
        if named:
            known = await counting.check(named)
            if known.unknown:
                shown = ", ".join(each.hex() for each in known.unknown[:5])
                raise Refused(
                    "incident.serials",
                    f"never issued here: {shown}{' ...' if len(known.unknown) > 5 else ''}; nothing is done",
                )
            counts = (known.chosen, known.revoked, known.expired)
        elif dry_run:
            found = await counting.count(chosen, lambda looked, rows: None)
            counts = (found.chosen, found.revoked, found.expired)
    finally:
        await counting.close()
    if dry_run:
        if json_:
            say(json.dumps(dict(zip(("chosen", "revoked", "expired"), counts, strict=True))))
        else:
            say(f"{counts[0]} certificates would be put in")
            say(f"{counts[1]} more are revoked already, {counts[2]} have expired")
    return dry_run


async def _put_in(operator: Operator, incident_id: str, named: list[bytes], chosen: Selection) -> Page:
    told = 0

    def progress(added: int) -> None:
        nonlocal told
        if added >= told + PROGRESS:
            told = added
            print(f"{added} are in ...", file=sys.stderr)

    if named:
        return await operator.name(incident_id, named, progress)
    return await operator.choose(incident_id, chosen, progress)


def _tell_page(incident_id: str, page: Page, json_: bool) -> None:
    if json_:
        told = {"added": page.added, "already": page.already, "ended": page.ended}
        say(json.dumps({"incident": incident_id} | told))
        return
    say(f"{page.added} certificates are put into {incident_id}")
    say(f"{page.already} were in it before, {page.ended} are revoked or expired and left out")


def _line(incident: Incident) -> str:
    state = f"renew by {_shown(incident.renew_by)}"
    if incident.closed_at is not None:
        state = f"closed {_shown(incident.closed_at)}"
    return (
        f"{incident.id}  {incident.title}  ({incident.total} certificates, {state}, opened "
        f"{_shown(incident.opened_at)} by {incident.opened_by})"
    )


def _ask(given: Reporting, work: Callable[[Operator], Awaitable[None]]) -> None:
    from operations.desk.incident import Operator

    local_api.ask(Operator(given.directory()), work)


def _shown(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z"
