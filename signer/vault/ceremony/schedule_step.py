"""schedule-issuer: the first and the last day on which an issuing CA signs leaves, and so a rollover.

A planned issuing CA becomes active by it; dates act by themselves afterwards (signer/succession.py).  What
was retired or destroyed stays so: relying parties were told.

CPS 5.6 (key changeover), 6.3.2.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509

from core.errors import ConfigurationError, Refused
from signer.vault.ceremony.certificate_steps import DAY, midnight
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.sealed.seal import IssuerState, SealedIssuer

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The issuing CA with its days."""

    issuer: SealedIssuer


@dataclass(frozen=True, slots=True)
class ScheduleIssuer:
    """An issuing CA signs leaves from `since` to `until`, dates (UTC), both included; left out: no bound."""

    issuer: str
    since: datetime.date | None = None
    until: datetime.date | None = None

    KIND: ClassVar[str] = "schedule-issuer"
    Done: ClassVar[type] = Scheduled

    def words(self, plan: Plan) -> str:
        begins = f"from {self.since}" if self.since else "from now on"
        ends = f"until {self.until}" if self.until else "as long as its certificate lasts"
        return f"issuing CA {self.issuer!r} signs leaves {begins}, {ends}"

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(self.issuer)
        if self.issuer == ROOT:
            raise ConfigurationError("the root signs no leaf: name an issuing CA")
        if self.since and self.until and self.until < self.since:
            raise ConfigurationError(f"until = {self.until} lies before since = {self.since}")

    async def perform(self, room: Room, attempt: Attempt) -> Scheduled:
        issuer = room.draft.issuers[self.issuer]
        if issuer.state not in (IssuerState.PLANNED, IssuerState.ACTIVE):
            raise Refused(
                "schedule.state", f"issuing CA {issuer.id!r} is {issuer.state} and stays so: make a new one"
            )
        since = midnight(self.since) if self.since else 0
        until = midnight(self.until) + DAY - 1 if self.until else 0
        ends = int(x509.load_der_x509_certificate(issuer.certificate).not_valid_after_utc.timestamp())
        if max(since, until) > ends:
            raise Refused("schedule.ends", f"the certificate of {issuer.id!r} ends before: choose other days")
        return Scheduled(replace(issuer, state=IssuerState.ACTIVE, since=since, until=until))

    def apply(self, draft: Draft, done: Scheduled) -> None:
        draft.issuers[done.issuer.id] = done.issuer
