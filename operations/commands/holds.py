"""The commands of `acme-server holds`; what they do is in operations/desk/holds.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from acme_server.store.holds import Decision
from operations.commands.command import command, group, say
from operations.commands.options import Reporting
from operations.screens import moment

application = group("holds", "Orders for high-risk names, which wait for a person (BR 4.2.1).")

Order = Annotated[str, typer.Argument(help="The order's id, as `list` shows it, or its URL.")]
Note = Annotated[str, typer.Option(help="On what your decision rests; kept in the CA's records.")]


@command(application, "list")
def list_(given: Reporting) -> None:
    """List the orders that wait: for what names, why, since when, and whose they are."""
    from operations.desk import holds

    found = holds.list_all(given.directory())
    if given.json:
        say(json.dumps([asdict(each) for each in found], indent=2))
        return
    if not found:
        say("no order waits for a person")
    for each in found:
        say(f"{each.order_id}  since {moment(each.held_at)}, ends {moment(each.expires)}")
        say(f"    names    {', '.join(each.names)} (profile {each.profile})")
        say(f"    because  {each.why}")
        say(f"    account  {each.account_url} {', '.join(each.contact)}")


@command(application)
def approve(given: Reporting, order: Order, note: Note) -> None:
    """Let an order be issued, after what the CP/CPS asks of a person.

    It serves this one order; the next one for the same names waits again.
    """
    _decide(given, order, Decision.APPROVED, note)


@command(application)
def refuse(given: Reporting, order: Order, note: Note) -> None:
    """Make an order invalid.  Its subscriber is told to write to ca.contact, and nothing of the note."""
    _decide(given, order, Decision.REFUSED, note)


def _decide(given: Reporting, order: str, decision: Decision, note: str) -> None:
    from operations.desk import holds

    names = holds.decide(given.directory(), order, decision, note)
    if given.json:
        say(json.dumps({"order": order, "decision": decision, "names": names}))
    else:
        say(f"{decision}: the order for {', '.join(names)}")
