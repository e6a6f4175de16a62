"""The commands `acme-server revoke` and `revocations`; what they do is in operations/desk/revoke.py.

Must never: revoke more than one certificate before a person, or `--yes`, has agreed to the number.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from core.causes import PROVING, REASONS, RULES, SUBSCRIBERS, Cause
from core.errors import ConfigurationError, Refused
from operations.commands import words
from operations.commands.choosing import Choice
from operations.commands.command import command, say
from operations.commands.options import Reporting
from operations.desk import local_api

if TYPE_CHECKING:
    from acme_server.store.selection import Selection
    from operations.desk.revoke import Operator, RunState

LOOK = 0.3
"""Seconds between two looks at a run."""

CAUSES = "; ".join(
    f"{cause} ({rule.says}: {REASONS[rule.reason]}, {rule.within // 86400} d)"
    for cause, rule in RULES.items()
)

_CODES = {word: code for code, word in SUBSCRIBERS.items()}


@dataclass(frozen=True, slots=True)
class Count:
    """What was chosen: `chosen` would be revoked; some `samples`, and serial numbers that are `unknown`.

    `until` is the row of the register up to which was counted.
    """

    chosen: int
    revoked: int
    expired: int
    samples: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    until: int = 0

    def tell(self, json_: bool) -> None:
        """Say it."""
        if json_:
            say(json.dumps(asdict(self)))
            return
        say(f"{self.chosen} certificates would be revoked")
        say(f"{self.revoked} more are revoked already, {self.expired} have expired")
        for serial in self.samples:
            say(f"  {serial}")
        for serial in self.unknown:
            say(f"  {serial} was never issued here")

    def must_be_something(self, *, upgrading: bool) -> None:
        """Raises `Refused` for a list with a serial number that is none, or when nothing would be done.

        `upgrading`: a certificate that is revoked may still get the reason keyCompromise, an expired one too.
        """
        if self.unknown:
            # A list that is wrong in one place may be wrong in others.
            shown = ", ".join(self.unknown[:5]) + (" ..." if len(self.unknown) > 5 else "")
            raise Refused("revocation.unknown", f"never issued here: {shown}; nothing is revoked")
        if not self.chosen and not (upgrading and self.revoked + self.expired):
            raise Refused(
                "revocation.nothing",
                f"nothing is left to revoke: {self.revoked} revoked already, {self.expired} expired",
            )


def register(application: typer.Typer) -> None:
    """Add the commands to the command line."""
    command(application)(revoke)
    command(application)(revocations)


def revoke(
    choice: Choice,
    given: Reporting,
    cause: Annotated[Cause | None, typer.Option(metavar="CAUSE", help=f"By BR 4.9.1.1: {CAUSES}.")] = None,
    reason: Annotated[
        str, typer.Option(help=f"That a subscriber-request names: {', '.join(SUBSCRIBERS.values())}.")
    ] = "",
    note: Annotated[str, typer.Option(help="Who asked and why: for the audit log.")] = "",
    learned_at: Annotated[
        str, typer.Option(help="When the CA learned of it, like 2026-12-01T09:30Z: the time runs from then.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Revoke certificates as their issuer: one, a list, or all that meet every condition given.

    The cause sets reason and deadline.  The running CA does it, page by page, and goes on by itself when this
    command or the CA itself is interrupted; `revocations` shows how far it is.
    """
    from operations.desk.revoke import Decision

    named, chosen = choice.made()
    if cause is None and not choice.dry_run:
        raise ConfigurationError(f"--cause says why (it sets reason and deadline): {', '.join(Cause)}")
    since = words.time("--learned-at", learned_at) if learned_at else None
    decision = None if cause is None else Decision(cause, _code(reason), note, since)

    async def work(operator: Operator) -> None:
        count = await (_known(operator, named) if named else _chosen(operator, chosen))
        if decision is None or choice.dry_run:
            count.tell(given.json)
            return
        count.must_be_something(upgrading=decision.cause in PROVING)
        if count.chosen > 1 and not yes:
            count.tell(False)
            _must_agree(count.chosen, decision.cause)
        if named:
            run = await operator.begin_with(decision, named)
        else:
            run = await operator.begin(decision, chosen, count.until)
        _tell(await _watch(operator, run), given.json)

    _ask(given, work)


def revocations(
    given: Reporting,
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Watch this one until it has ended.")] = "",
) -> None:
    """List the latest revocations by `revoke`, and how far they are."""

    async def work(operator: Operator) -> None:
        if run:
            _tell(await _watch(operator, await operator.state(run)), given.json)
            return
        found = await operator.runs()
        for each in found:
            _tell(each, given.json)
        if not found and not given.json:
            say("nothing was revoked by `revoke` yet")

    _ask(given, work)


def _code(reason: str) -> int | None:
    if reason and reason not in _CODES:
        raise ConfigurationError(f"--reason: {reason!r} is none of {', '.join(_CODES)} (BR 7.2.2)")
    return _CODES.get(reason)


async def _known(operator: Operator, named: list[bytes]) -> Count:
    known = await operator.check(named)
    unknown = tuple(each.hex() for each in known.unknown)
    return Count(known.chosen, known.revoked, known.expired, unknown=unknown)


async def _chosen(operator: Operator, chosen: Selection) -> Count:
    found = await operator.count(chosen, _looking)
    samples = tuple(each.hex() for each in found.samples)
    return Count(found.chosen, found.revoked, found.expired, samples, until=found.until)


def _ask(given: Reporting, work: Callable[[Operator], Awaitable[None]]) -> None:
    from operations.desk.revoke import Operator

    local_api.ask(Operator(given.directory()), work, more=". A run that was begun goes on with the CA")


async def _watch(operator: Operator, run: RunState) -> RunState:
    """The run once it has ended; a line on standard error for anything over a second."""
    waited = 0.0
    pause = 0.02
    while run.phase != "ended" and run.phase != "gathering":
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, LOOK)
        run = await operator.state(run.run_id)
        if waited > 1 and sys.stderr.isatty():
            done = run.counts.total - run.counts.left
            print(
                f"\r  {run.phase}: {done} of {run.counts.total} done ...", end="", file=sys.stderr, flush=True
            )
        elif waited > 5:
            waited = 1.0
            print(f"{run.phase}: {run.counts.left} of {run.counts.total} left ...", file=sys.stderr)
    if waited > 1 and sys.stderr.isatty():
        print(file=sys.stderr)
    return run


def _tell(run: RunState, json_: bool) -> None:
    counts = run.counts
    if json_:
        told = asdict(run) | {"counts": asdict(counts) | {"left": counts.left}}
        say(json.dumps(told))
        return
    say(f"{run.run_id}  {run.cause} ({REASONS[run.reason]})  begun {_shown(run.began_at)} by {run.began_by}")
    parts = [f"{counts.revoked} revoked"]
    parts += [f"{counts.upgraded} have the reason keyCompromise now"] if counts.upgraded else []
    parts += [f"{counts.already} were revoked before"] if counts.already else []
    parts += [f"{counts.expired} had expired"] if counts.expired else []
    if run.phase == "gathering":
        say(f"  never started: {counts.total} serial numbers were named and none is revoked; begin again")
    elif run.ended_at is None:
        say(f"  {run.phase}: {', '.join(parts)}, {counts.left} left; due on CRLs by {_shown(run.revoke_by)}")
    else:
        say(f"  {', '.join(parts)}; ended {_shown(run.ended_at)}, due on CRLs by {_shown(run.revoke_by)}")


def _must_agree(count: int, cause: Cause) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(f"there is no terminal to ask on: --yes revokes these {count} certificates")
    typed = input(f"Revoke {count} certificates because {RULES[cause].says}? Type the number: ")
    if typed.strip() != str(count):
        raise Refused("revocation.agreement", "that is not the number: nothing is revoked")


def _looking(looked: int, rows: int) -> None:
    if rows > 200_000 and sys.stderr.isatty():
        end = "\n" if looked >= rows else ""
        print(f"\r  looked at {looked} of {rows} certificates ...", end=end, file=sys.stderr, flush=True)


def _shown(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"
