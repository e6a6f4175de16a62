"""The commands of `acme-server issuers`; what they do is in operations/desk/issuer_causes.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from operations.commands import words
from operations.commands.command import command, group, say
from operations.commands.options import Reporting
from operations.screens import moment

if TYPE_CHECKING:
    from core.issuer_causes import IssuerCause

application = group("issuers", "Issuing CAs that must be revoked within 7 days (BR 4.9.1.2).")

IssuerId = Annotated[str, typer.Argument(metavar="ISSUER", help="The issuing CA's id, as in `status`.")]


@command(application, "list")
def list_(given: Reporting) -> None:
    """List the clocks: those that run first."""
    from operations.desk import issuer_causes

    found = issuer_causes.list_all(given.directory())
    if given.json:
        say(json.dumps([asdict(each) for each in found], indent=2))
        return
    if not found:
        say("no issuing CA has to be revoked")
    for each in found:
        _tell(each)


@command(application)
def learned(
    given: Reporting,
    issuer: IssuerId,
    note: Annotated[str, typer.Option(help="The cause, and on what it rests; kept in the CA's records.")],
    learned_at: Annotated[
        str, typer.Option(help="When the CA learned of it, like 2026-12-01T09:30Z: the time runs from then.")
    ] = "",
    explanation: Annotated[str, typer.Option(metavar="URL", help="A page that clients show people.")] = "",
) -> None:
    """Begin the clock of an issuing CA that must be revoked; `status` has alarms at 50 and 80 % of it.

    From now on clients that ask (ARI) are told to renew its certificates, spread over half of the time.
    The revocation itself is its superior's: of our own root a ceremony (docs/drills.md).  The clock ends by
    itself when the root's public CRL lists it.
    """
    from operations.desk import issuer_causes

    at = words.time("--learned-at", learned_at) if learned_at else None
    _say(issuer_causes.learned(given.directory(), issuer, at, note, explanation), given.json)


@command(application)
def ended(
    given: Reporting,
    issuer: IssuerId,
    note: Annotated[
        str, typer.Option(help="Where it is published (the superior's CRL), or why none is due.")
    ],
    unfounded: Annotated[
        bool,
        typer.Option("--unfounded", help="None is due: its certificates have their usual windows again."),
    ] = False,
) -> None:
    """End the clock: another superior has published the revocation, or none is due."""
    from operations.desk import issuer_causes

    _say(issuer_causes.ended(given.directory(), issuer, note, not unfounded), given.json)


def _say(cause: IssuerCause, json_: bool) -> None:
    if json_:
        say(json.dumps(asdict(cause), indent=2))
    else:
        _tell(cause)


def _tell(cause: IssuerCause) -> None:
    if cause.ended_at is None:
        say(f"{cause.issuer_id}  to be revoked by {moment(cause.revoke_by)}")
    else:
        say(f"{cause.issuer_id}  ended {moment(cause.ended_at)}: {cause.ended_how}")
    say(f"    since {moment(cause.learned_at)}, by {cause.recorded_by}: {cause.note}")
