"""What must be revoked by when: the clock runs from when the CA learned of a cause to *published* revocation.

A revocation is at its end when a CRL with it is public (`revocations.published_at`), not when it is decided.
A run in bulk has the time of its cause, 24 hours or 5 days; whatever else was revoked, the shortest; an
issuing CA 7 days, until the root's public CRL lists it or somebody says where else it stands.  Alarms rise
when half of the time, and four fifths of it, are gone.

Must never: call a deadline kept of which something is not yet public.

BR 4.9.1.1, 4.9.1.2, 4.9.5; CPS 4.9; requirements 2.55, 2.56.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from prometheus_client import Gauge

from acme_server.store import revocation_runs
from acme_server.store.revocation_runs import Phase, Run
from core import issuer_causes
from core.causes import DAY, RULES
from core.clock import Clock
from core.database import Database, Reader
from core.loops import for_ever
from core.metrics import REGISTRY
from operations.alarms.urgency import Alarms, Urgency
from repo_static.publisher import ROOT_ID
from status.pages.named import serial_of
from status.pages.published import Published

LOOK_EVERY = 60
"""Seconds between two looks."""

HALF, MOST = 50, 80
"""Per cent of the time that is gone when an alarm rises, and when it rises again."""

RUNS = 100
"""Runs that are looked at: the newest."""

OPEN = Gauge("acme_revocations_unpublished", "Revocations that no CRL has told yet.", registry=REGISTRY)
URGENCY = Gauge(
    "acme_revocation_deadline_urgency",
    "Of what must be revoked by when: 0 calm, 1 half of the time is gone, 2 four fifths, 3 overdue.",
    registry=REGISTRY,
)

_log = logging.getLogger(__name__)


_REMEDY_ISSUER = (
    "hold a ceremony with the steps revoke-issuer and root-crl; where another CA is its superior, tell that, "
    "and then `acme-server issuers ended`"
)

_AGAIN_AFTER = {Urgency.HALF: 3600, Urgency.MOST: 900, Urgency.OVER: 300}
"""Seconds until the same alarm is repeated."""


@dataclass(frozen=True, slots=True)
class Due:
    """`certificates` that must be on published CRLs `by` then; the clock began at `since` (POSIX seconds)."""

    what: str
    certificates: int
    since: int
    by: int
    remedy: str = "look at the vault and the CRL alarms in the app's log"

    def urgency(self, now: int) -> Urgency:
        """How much of the time is gone; the last second is in time."""
        gone = (now - self.since) * 100
        whole = self.by - self.since
        if now > self.by:
            return Urgency.OVER
        if gone >= MOST * whole:
            return Urgency.MOST
        return Urgency.HALF if gone >= HALF * whole else Urgency.CALM

    def says(self, now: int) -> str:
        """One line for a person, with what to do."""
        word = "OVERDUE" if self.urgency(now) is Urgency.OVER else "due"
        when = datetime.fromtimestamp(self.by, UTC).isoformat(" ", "minutes")
        return (
            f"{self.what}: {self.certificates} certificates are not on a published CRL, {word} {when[:16]} "
            f"UTC (BR 4.9.5): {self.remedy}"
        )


def found(reader: Reader, now: int) -> list[Due]:
    """All that is not yet public, the most urgent first."""
    due = []
    row = reader.one(
        "SELECT COUNT(*) AS n, MIN(coalesce(changed_at, revoked_at)) AS since"
        " FROM revocations WHERE published_at IS NULL"
    )
    waiting, since = (0, None) if row is None else (row["n"], row["since"])
    if since is not None:
        # Of which cause it was stands in its run; this is the shortest time of all.
        due.append(Due("revocations", waiting, since, since + DAY))
    for run in revocation_runs.newest(reader, RUNS):
        left = _left(reader, run, waiting)
        if left:
            due.append(Due(f"run {run.id} ({RULES[run.cause].clause})", left, run.learned_at, run.revoke_by))
    for cause in issuer_causes.open_ones(reader):
        what = f"issuing CA {cause.issuer_id} (BR 4.9.1.2)"
        due.append(Due(what, 1, cause.learned_at, cause.revoke_by, _REMEDY_ISSUER))
    return sorted(due, key=lambda each: (-each.urgency(now), each.by))


def urgent(reader: Reader, now: int) -> list[Due]:
    """Of which half of the time is gone, or more."""
    return [each for each in found(reader, now) if each.urgency(now)]


def _left(reader: Reader, run: Run, unpublished: int) -> int:
    """Certificates of the run that are not revoked, or whose revocation is not public."""
    if run.phase is Phase.GATHERING:
        return 0  # nobody has decided anything yet
    counts = revocation_runs.counts(reader, run.id)
    left = counts.left if run.phase is not Phase.ENDED else 0
    if unpublished and run.phase in (Phase.REVOKING, Phase.ENDED):
        row = reader.one(
            "SELECT COUNT(*) AS n FROM revocations r JOIN revocation_targets t"
            " ON t.serial = r.serial AND t.run_id = ? AND t.done_at IS NOT NULL WHERE r.published_at IS NULL",
            (run.id,),
        )
        left += 0 if row is None else row["n"]
    # While it is selected nobody knows how many there are: at least one, as far as is known.
    return max(left, 1) if run.phase is Phase.SELECTING else left


class DeadlineWatch:
    """Raises the alarms while the app runs."""

    def __init__(self, database: Database, published: Published, clock: Clock) -> None:
        self._database = database
        self._published = published
        self._clock = clock
        self._alarms = Alarms()

    async def run(self) -> None:
        """Look for ever."""
        await for_ever(self.look, LOOK_EVERY, _log, "the deadlines of revocations are not watched")

    async def look(self) -> Sequence[Due]:
        """One look: metrics and alarms; what is due."""
        now = self._clock.latest()
        for cause in await self._database.read(issuer_causes.open_ones):
            if how := self._listed(cause.issuer_id):
                await self._database.write(
                    partial(issuer_causes.end, issuer_id=cause.issuer_id, how=how, actor="system"),
                    at_any_time=True,
                )
        due = await self._database.read(lambda rows: found(rows, now))
        OPEN.set(sum(each.certificates for each in due if each.what == "revocations"))
        URGENCY.set(max((each.urgency(now) for each in due), default=Urgency.CALM))
        for each in due:
            urgency = each.urgency(now)
            if urgency and self._alarms.raises(each.what, urgency, now, _AGAIN_AFTER[urgency]):
                _log.critical("%s", each.says(now))
        self._alarms.keep([each.what for each in due])
        return due

    def _listed(self, issuer_id: str) -> str:
        """Where the root's public CRL says that it is revoked; "" where it does not."""
        issuer = self._published.issuer(issuer_id)
        crl = None if issuer is None else self._published.shard(ROOT_ID, 0, serial_of(issuer.parsed))
        if crl is None or crl.revoked_at is None:
            return ""
        return f"{crl.name}, number {crl.number}"
