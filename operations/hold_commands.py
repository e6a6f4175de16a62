"""The commands of `acme-server holds`; what they do is in operations/holds.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from acme_server.store.holds import Decision
from operations.command import DATA, Config, Data, Json, Set, exit_with, group, invocation, say
from operations.process import Exit

application = group("holds", "Orders for high-risk names, which wait for a person (BR 4.2.1).")

Order = Annotated[str, typer.Argument(help="The order's id, as `list` shows it, or its URL.")]
Note = Annotated[str, typer.Option(help="On what your decision rests; kept in the CA's records.")]


@application.command("list")
def list_(config: Config = None, data: Data = DATA, set_: Set = None, json_: Json = False) -> None:
    """List the orders that wait: for what names, why, since when, and whose they are."""

    def tell() -> int:
        from operations import holds

        found = holds.list_all(invocation(config, data, set_).directory())
        if json_:
            say(json.dumps([asdict(each) for each in found], indent=2))
            return Exit.DONE
        if not found:
            say("no order waits for a person")
        for each in found:
            say(f"{each.order_id}  since {_time(each.held_at)}, ends {_time(each.expires)}")
            say(f"    names    {', '.join(each.names)} (profile {each.profile})")
            say(f"    because  {each.why}")
            say(f"    account  {each.account_url} {', '.join(each.contact)}")
        return Exit.DONE

    exit_with(tell)


@application.command()
def approve(
    order: Order,
    note: Note,
    config: Config = None,
    data: Data = DATA,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Let an order be issued, after what the CP/CPS asks of a person.

    It serves this one order; the next one for the same names waits again.
    """
    exit_with(lambda: _decide(order, Decision.APPROVED, note, config, data, set_, json_))


@application.command()
def refuse(
    order: Order,
    note: Note,
    config: Config = None,
    data: Data = DATA,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Make an order invalid.  Its subscriber is told to write to ca.contact, and nothing of the note."""
    exit_with(lambda: _decide(order, Decision.REFUSED, note, config, data, set_, json_))


def _decide(
    order: str, decision: Decision, note: str, config: Config, data: Data, set_: Set, json_: bool
) -> int:
    from operations import holds

    names = holds.decide(invocation(config, data, set_).directory(), order, decision, note)
    if json_:
        say(json.dumps({"order": order, "decision": decision, "names": names}))
    else:
        say(f"{decision}: the order for {', '.join(names)}")
    return Exit.DONE


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
