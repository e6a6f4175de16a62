"""`acme-server incident`: the windows of a set of certificates are moved, through the running app.

Must never: let one look at a million certificates keep subscribers waiting (pages); move a window of which
the audit log knows nothing.

RFC 9773 section 4.2; BR 5.7.1.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from acme_server.registration import incident as rules
from acme_server.registration.incident import Page
from acme_server.store import incidents
from acme_server.store.incidents import Fate, Incident
from acme_server.store.selection import Selection
from core import caller
from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Database, Rows
from core.randomness import Randomness
from core.rpc import Method, RpcServer
from operations.desk.local_api import Connection

NAMED_AT_ONCE = 1000
"""Serial numbers in one request."""

LOOKED_AT = 2000
"""Certificates whose fate one request looks at."""

LISTED = 50


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A new incident; `renew_by` in POSIX seconds."""

    title: str
    explanation_url: str
    renew_by: int
    actor: str


@dataclass(frozen=True, slots=True)
class NameRequest:
    """Certificates to put in, by their serial numbers."""

    incident_id: str
    serials: tuple[bytes, ...]
    actor: str


@dataclass(frozen=True, slots=True)
class ChooseRequest:
    """The page of `selection` behind row `after`; `until` 0 at first."""

    incident_id: str
    selection: Selection
    after: int
    until: int
    actor: str


@dataclass(frozen=True, slots=True)
class IncidentId:
    """Which one; in a list "" is all."""

    incident_id: str
    actor: str


@dataclass(frozen=True, slots=True)
class IncidentList:
    """The open ones first."""

    incidents: tuple[Incident, ...]


@dataclass(frozen=True, slots=True)
class FatesRequest:
    """The certificates behind the serial `after`, b"" at first."""

    incident_id: str
    after: bytes


@dataclass(frozen=True, slots=True)
class Fates:
    """Fewer than `LOOKED_AT` of them: the last page."""

    fates: tuple[tuple[bytes, Fate], ...]


OPEN = Method("incident-open", OpenRequest, Incident)
NAME = Method("incident-name", NameRequest, Page)
CHOOSE = Method("incident-choose", ChooseRequest, Page)
LIST = Method("incident-list", IncidentId, IncidentList)
FATES = Method("incident-fates", FatesRequest, Fates)
CLOSE = Method("incident-close", IncidentId, Incident)


def serve(answering: RpcServer, database: Database, clock: Clock, randomness: Randomness) -> None:
    """Add the app's side to the operator's socket."""

    async def begin(request: OpenRequest) -> Incident:
        id = randomness.octets(4).hex()

        def new(now: int) -> Incident:
            title, url = request.title.strip(), request.explanation_url
            return Incident(id, title, url, request.renew_by, now, request.actor, 0, None)

        return await database.write(lambda tx: rules.begin(tx, new(tx.now)))

    async def name(request: NameRequest) -> Page:
        return await database.write(
            lambda tx: rules.name(tx, request.incident_id, request.serials, request.actor)
        )

    async def choose(request: ChooseRequest) -> Page:
        r = request
        return await database.write(
            lambda tx: rules.choose(tx, r.incident_id, r.selection, r.after, r.until, r.actor)
        )

    async def list_(request: IncidentId) -> IncidentList:
        def look(rows: Rows) -> IncidentList:
            if not request.incident_id:
                return IncidentList(tuple(incidents.newest(rows, LISTED)))
            found = incidents.by_id(rows, request.incident_id)
            return IncidentList((rules.known(found, request.incident_id),))

        return await database.read(look)

    async def fates(request: FatesRequest) -> Fates:
        return await database.read(
            lambda rows: Fates(
                tuple(incidents.fates(rows, request.incident_id, request.after, LOOKED_AT, clock.now()))
            )
        )

    async def close(request: IncidentId) -> Incident:
        return await database.write(lambda tx: rules.end(tx, request.incident_id, request.actor))

    answering.add(OPEN, begin)
    answering.add(NAME, name)
    answering.add(CHOOSE, choose)
    answering.add(LIST, list_)
    answering.add(FATES, fates)
    answering.add(CLOSE, close)


class Operator(Connection):
    """The command line's side of one running CA.  All raise `Refused`, or `TransientError` without an app."""

    def __init__(self, data: DataDirectory) -> None:
        super().__init__(data)
        self._actor = caller.claimed()

    async def open(self, title: str, explanation_url: str, renew_by: int) -> Incident:
        """Open an incident, without certificates yet."""
        return await self.call(OPEN, OpenRequest(title, explanation_url, renew_by, self._actor))

    async def name(self, incident_id: str, serials: Sequence[bytes], progress: Callable[[int], None]) -> Page:
        """Put certificates in; `progress` hears how many so far.  Called again it goes on."""
        total = Page(0, 0, 0, 0)
        for at in range(0, len(serials), NAMED_AT_ONCE):
            some = tuple(serials[at : at + NAMED_AT_ONCE])
            total = _sum(total, await self.call(NAME, NameRequest(incident_id, some, self._actor)))
            progress(total.added)
        return total

    async def choose(self, incident_id: str, chosen: Selection, progress: Callable[[int], None]) -> Page:
        """The same for a selection."""
        total = Page(0, 0, 0, 0)
        while True:
            request = ChooseRequest(incident_id, chosen, total.after, total.until, self._actor)
            total = _sum(total, await self.call(CHOOSE, request))
            progress(total.added)
            if total.after >= total.until:
                return total

    async def list(self) -> tuple[Incident, ...]:
        """The newest incidents, the open ones first."""
        return (await self.call(LIST, IncidentId("", self._actor))).incidents

    async def show(self, incident_id: str) -> Incident:
        """One of them."""
        return (await self.call(LIST, IncidentId(incident_id, self._actor))).incidents[0]

    async def fates(
        self, incident_id: str, each: Callable[[bytes, Fate], None] = lambda serial, fate: None
    ) -> Counter[Fate]:
        """How many certificates have which fate; `each` hears every one."""
        counts: Counter[Fate] = Counter()
        after = b""
        while True:
            page = (await self.call(FATES, FatesRequest(incident_id, after))).fates
            for after, fate in page:
                counts[fate] += 1
                each(after, fate)
            if len(page) < LOOKED_AT:
                return counts

    async def end(self, incident_id: str) -> Incident:
        """Close an incident."""
        return await self.call(CLOSE, IncidentId(incident_id, self._actor))


def _sum(total: Page, page: Page) -> Page:
    return replace(
        page,
        added=total.added + page.added,
        already=total.already + page.already,
        ended=total.ended + page.ended,
        unknown=total.unknown + page.unknown,
    )
