"""The commands of `acme-server limits`; what they do is in operations/desk/limits.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from core.errors import ConfigurationError
from operations.commands.command import command, group, say
from operations.commands.options import Reporting

application = group("limits", "Rate limits: how an account stands, and exceptions that you make.")

Account = Annotated[str | None, typer.Option("--account", help="An account's URL, or the end of it.")]
Binding = Annotated[str | None, typer.Option("--binding", help="The key id of an external account.")]


@command(application)
def show(
    given: Reporting,
    account: Annotated[str, typer.Argument(help="The account's URL, or the end of it.")],
    names: Annotated[list[str] | None, typer.Argument(help="Names that it would order together.")] = None,
) -> None:
    """Show how an account stands with each limit, and what would refuse an order.

    Nothing is spent.
    """
    from operations.desk import limits

    directory = given.directory()
    found = limits.show(directory, _id(account), tuple(name.lower() for name in names or ()))
    if given.json:
        say(json.dumps(asdict(found), indent=2))
        return
    say(found.account_url)
    for each in found.lines:
        by = f"  [override of {_subject(each.override)}]" if each.override else ""
        say(f"  {each.limit:20} {each.detail}{by}")
    if found.refusal:
        say(f"an order would be refused now: {found.refusal}")
    elif names:
        say("no limit would refuse an order of these names now")


@command(application, "list")
def list_(given: Reporting) -> None:
    """List the exceptions: for whom, from which limit, why."""
    from operations.desk import limits

    found = limits.list_all(given.directory())
    if given.json:
        say(json.dumps([asdict(each) for each in found], indent=2))
        return
    if not found:
        say("there is no exception; `acme-server limits set` makes one")
    for each in found:
        say(_line(each))


@command(application, "set")
def set_override(
    given: Reporting,
    limit: Annotated[str, typer.Argument(help="Its name, as refusals and GET /limits say it.")],
    count: Annotated[int, typer.Argument(min=0, help="How many; 0 for no limit.")],
    note: Annotated[str, typer.Option(help="Why, for those who come after you.")],
    account: Account = None,
    binding: Binding = None,
    period: Annotated[
        int, typer.Option(min=0, help="Seconds over which they come back; 0 takes the limit's own.")
    ] = 0,
) -> None:
    """Make an exception for an account, or for all accounts of a binding key.

    It holds at once, and an account's own goes before its key's.  Each account has a bucket of its own.
    """
    from operations.desk import limits

    directory = given.directory()
    made = limits.set_override(directory, _one(account, binding), limit, count, period, note)
    say(json.dumps(asdict(made)) if given.json else _line(made))


@command(application)
def clear(
    given: Reporting,
    limit: Annotated[str, typer.Argument(help="Which; without it all of the account or key.")] = "",
    account: Account = None,
    binding: Binding = None,
) -> None:
    """End an exception: the settings hold again, with a full bucket."""
    from operations.desk import limits

    directory = given.directory()
    ended = limits.clear(directory, _one(account, binding), limit)
    if given.json:
        say(json.dumps([asdict(each) for each in ended]))
    else:
        for each in ended:
            say(f"ended: {_line(each)}")


def _one(account: str | None, binding: str | None) -> str:
    """The subject.  Raises `ConfigurationError`."""
    if (account is None) == (binding is None):
        raise ConfigurationError("name either --account or --binding")
    return f"binding:{binding}" if account is None else f"account:{_id(account)}"


def _id(account: str) -> str:
    return account.rstrip("/").rpartition("/")[2]


def _subject(subject: str) -> str:
    return subject.replace(":", " ", 1)


def _line(override: Any) -> str:
    allowed = f"{override.count} in {override.period} s" if override.count else "no limit"
    return f"{_subject(override.subject)}  {override.limit}  {allowed}  {override.note}"
