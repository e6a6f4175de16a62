"""`acme-server revoke`: certificates are revoked for a cause, one or a million, through the running app.

What a person decided is a run (acme_server/registration/revocation_run.py), which the app finishes by
itself: the command line counts, begins it, and watches.

Must never: begin before it is certain what was chosen; call a run done that is not.

BR 4.9.1.1, 4.9.5; CPS 5.7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from acme_server.registration import revocation_run
from acme_server.store import revocation_runs, selection
from acme_server.store.revocation_runs import Counts, Phase, Run
from acme_server.store.selection import Selection
from core import caller, revocations
from core.causes import Cause, reason_of
from core.clock import Clock
from core.database import Database, Rows, Transaction
from core.errors import Refused
from core.randomness import Randomness
from core.rpc import Method, RpcServer
from operations.desk.local_api import Connection

NAMED_AT_ONCE = 1000
"""Serial numbers in one request."""

LISTED = 50
"""Runs that a list shows."""

SAMPLES = 5
"""Serial numbers that a count shows."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CountRequest:
    """The page of `selection` behind row `after`; `until` 0 at first."""

    selection: Selection
    after: int
    until: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What a page holds; go on with `after` while it is below `until`."""

    chosen: int
    revoked: int
    expired: int
    samples: tuple[bytes, ...]
    after: int
    until: int


@dataclass(frozen=True, slots=True)
class Named:
    """Serial numbers; `run_id` "" only counts."""

    run_id: str
    serials: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What they are: `unknown` were never issued here."""

    unknown: tuple[bytes, ...]
    chosen: int
    revoked: int
    expired: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Why; `reason` None for the cause's own, `learned_at` None for now (POSIX seconds)."""

    cause: Cause
    reason: int | None
    note: str
    learned_at: int | None


@dataclass(frozen=True, slots=True)
class BeginRequest:
    """A run; `selection` None when serial numbers are named next, else as counted up to row `until`."""

    decision: Decision
    selection: Selection | None
    until: int
    actor: str


@dataclass(frozen=True, slots=True)
class RunId:
    """Which run; in a list "" is the newest ones."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as it stands now; `found_until` of `rows` rows of the register have been looked at."""

    run_id: str
    cause: Cause
    reason: int
    note: str
    began_at: int
    began_by: str
    revoke_by: int
    phase: Phase
    counts: Counts
    found_until: int
    rows: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class RunList:
    """The newest first."""

    runs: tuple[RunState, ...]


COUNT = Method("revoke-count", CountRequest, Counted)
NAME = Method("revoke-name", Named, Known)
BEGIN = Method("revoke-begin", BeginRequest, RunState)
START = Method("revoke-start", RunId, RunState)
STATE = Method("revoke-state", RunId, RunState)
LIST = Method("revoke-list", RunId, RunList)


def serve(
    answering: RpcServer,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    wake_jobs: Callable[[], None],
) -> None:
    """Add the app's side to the operator's socket."""

    async def count(request: CountRequest) -> Counted:
        def look(rows: Rows) -> Counted:
            until = request.until or selection.extent(rows, request.selection)
            page = selection.page(rows, request.selection, request.after, until, clock.latest())
            samples = page.serials[:SAMPLES]
            revoked, expired = len(page.revoked), len(page.expired)
            return Counted(len(page.serials), revoked, expired, samples, page.after, until)

        return await database.read(look)

    async def name(request: Named) -> Known:
        if not request.run_id:
            return await database.read(lambda reader: _known(reader, request.serials, clock.latest()))

        def unit(tx: Transaction) -> Known:
            known = _known(tx, request.serials, tx.now)
            revocation_run.name(tx, request.run_id, request.serials)
            return known

        return await database.write(unit, at_any_time=True)

    async def begin(request: BeginRequest) -> RunState:
        decision = request.decision
        try:
            reason = reason_of(decision.cause, decision.reason)
        except ValueError as error:
            raise Refused("revocation.reason", str(error)) from error
        run_id = randomness.octets(4).hex()

        def unit(tx: Transaction) -> RunState:
            learned_at = tx.now if decision.learned_at is None else decision.learned_at
            if learned_at > tx.now:
                raise Refused("revocation.learned-at", "the CA cannot have learned of it later than now")
            run = Run(
                id=run_id,
                cause=decision.cause,
                reason=reason,
                note=decision.note,
                selection=request.selection,
                learned_at=learned_at,
                began_at=tx.now,
                began_by=request.actor,
                phase=Phase.GATHERING,
                cursor=0,
                until=request.until,
            )
            return _state(tx, revocation_run.begin(tx, run))

        state = await database.write(unit, at_any_time=True)
        wake_jobs()
        return state

    async def start(request: RunId) -> RunState:
        def unit(tx: Transaction) -> RunState:
            revocation_run.start(tx, request.run_id)
            return _state(tx, _run(tx, request.run_id))

        state = await database.write(unit, at_any_time=True)
        wake_jobs()
        return state

    async def state(request: RunId) -> RunState:
        return await database.read(lambda reader: _state(reader, _run(reader, request.run_id)))

    async def list_(request: RunId) -> RunList:
        def look(rows: Rows) -> RunList:
            return RunList(tuple(_state(rows, run) for run in revocation_runs.newest(rows, LISTED)))

        return await database.read(look)

    answering.add(COUNT, count)
    answering.add(NAME, name)
    answering.add(BEGIN, begin)
    answering.add(START, start)
    answering.add(STATE, state)
    answering.add(LIST, list_)


class Operator(Connection):
    """The command line's side of one running CA.  All raise `Refused`, or `TransientError` without an app."""

    async def count(self, chosen: Selection, progress: Callable[[int, int], None]) -> Counted:
        """What a selection holds now; `progress` hears rows looked at and rows in all."""
        total = Counted(0, 0, 0, (), 0, 0)
        while True:
            page = await self.call(COUNT, CountRequest(chosen, total.after, total.until))
            total = Counted(
                total.chosen + page.chosen,
                total.revoked + page.revoked,
                total.expired + page.expired,
                (total.samples + page.samples)[:SAMPLES],
                page.after,
                page.until,
            )
            progress(total.after, total.until)
            if total.after >= total.until:
                return total

    async def check(self, serials: Sequence[bytes]) -> Known:
        """What serial numbers are; nothing is done."""
        return await self._name("", serials)

    async def begin(self, decision: Decision, chosen: Selection, until: int) -> RunState:
        """Begin a run over what was counted up to row `until`; the app goes on whatever happens here."""
        return await self.call(BEGIN, BeginRequest(decision, chosen, until, caller.claimed()))

    async def begin_with(self, decision: Decision, serials: Sequence[bytes]) -> RunState:
        """The same over serial numbers: nothing is revoked before all of them are there."""
        run = await self.call(BEGIN, BeginRequest(decision, None, 0, caller.claimed()))
        await self._name(run.run_id, serials)
        return await self.call(START, RunId(run.run_id))

    async def state(self, run_id: str) -> RunState:
        """How far a run is."""
        return await self.call(STATE, RunId(run_id))

    async def runs(self) -> tuple[RunState, ...]:
        """The newest runs."""
        return (await self.call(LIST, RunId(""))).runs

    async def _name(self, run_id: str, serials: Sequence[bytes]) -> Known:
        total = Known((), 0, 0, 0)
        for at in range(0, len(serials), NAMED_AT_ONCE):
            page = await self.call(NAME, Named(run_id, tuple(serials[at : at + NAMED_AT_ONCE])))
            total = Known(
                total.unknown + page.unknown,
                total.chosen + page.chosen,
                total.revoked + page.revoked,
                total.expired + page.expired,
            )
        return total


def _known(rows: Rows, serials: Sequence[bytes], now: int) -> Known:
    found = {serial: revocations.status_of(rows, serial) for serial in serials}
    there = [each for each in found.values() if each is not None]
    revoked = sum(each.revocation is not None for each in there)
    expired = sum(each.revocation is None and each.not_after < now for each in there)
    unknown = tuple(serial for serial, each in found.items() if each is None)
    return Known(unknown, len(there) - revoked - expired, revoked, expired)


def _run(rows: Rows, run_id: str) -> Run:
    run = revocation_runs.by_id(rows, run_id)
    if run is None:
        raise Refused("revocation.run", f"there is no run {run_id!r}; `acme-server revocations` lists them")
    return run


def _state(rows: Rows, run: Run) -> RunState:
    return RunState(
        run_id=run.id,
        cause=run.cause,
        reason=run.reason,
        note=run.note,
        began_at=run.began_at,
        began_by=run.began_by,
        revoke_by=run.revoke_by,
        phase=run.phase,
        counts=revocation_runs.counts(rows, run.id),
        found_until=run.cursor,
        rows=run.until,
        ended_at=run.ended_at,
    )
