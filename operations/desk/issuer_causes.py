"""`acme-server issuers`: the clocks of issuing CAs that must be revoked, through the running app.

Must never: take a clock for ended that nobody said has ended, and no CRL of ours shows.

BR 4.9.1.2; requirements 2.56.
"""

from __future__ import annotations

from dataclasses import dataclass

from acme_server.registration.incident import must_be_url
from core import caller, issuer_causes
from core.data_directory import DataDirectory
from core.database import Database
from core.issuer_causes import IssuerCause
from core.rpc import Method, RpcServer
from operations.desk import local_api


@dataclass(frozen=True, slots=True)
class LearnedRequest:
    """`learned_at` in POSIX seconds, None for now."""

    issuer_id: str
    learned_at: int | None
    note: str
    explanation_url: str
    actor: str


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """`how`: where the revocation is published, or (not `revoked`) why none is due."""

    issuer_id: str
    how: str
    revoked: bool
    actor: str


@dataclass(frozen=True, slots=True)
class ListRequest:
    """All of them."""


@dataclass(frozen=True, slots=True)
class Page:
    """Those whose clock runs first."""

    causes: tuple[IssuerCause, ...]


LEARNED = Method("issuers-learned", LearnedRequest, IssuerCause)
ENDED = Method("issuers-ended", EndedRequest, IssuerCause)
LIST = Method("issuers-list", ListRequest, Page)


def serve(answering: RpcServer, database: Database) -> None:
    """Add the app's side to the operator's socket."""

    async def learned(request: LearnedRequest) -> IssuerCause:
        must_be_url(request.explanation_url)
        return await database.write(
            lambda tx: issuer_causes.record(
                tx,
                request.issuer_id,
                tx.now if request.learned_at is None else request.learned_at,
                request.note,
                request.explanation_url,
                actor=f"operator {request.actor}",
            ),
            at_any_time=True,
        )

    async def ended(request: EndedRequest) -> IssuerCause:
        return await database.write(
            lambda tx: issuer_causes.end(
                tx,
                request.issuer_id,
                request.how,
                actor=f"operator {request.actor}",
                revoked=request.revoked,
            ),
            at_any_time=True,
        )

    async def page(request: ListRequest) -> Page:
        return await database.read(lambda rows: Page(tuple(issuer_causes.every(rows))))

    answering.add(LEARNED, learned)
    answering.add(ENDED, ended)
    answering.add(LIST, page)


def learned(
    data: DataDirectory, issuer_id: str, learned_at: int | None, note: str, explanation_url: str
) -> IssuerCause:
    """Begin the clock.  Raises `Refused`, or `TransientError` when no app runs here; as those below."""
    return local_api.call(
        data, LEARNED, LearnedRequest(issuer_id, learned_at, note, explanation_url, caller.claimed())
    )


def ended(data: DataDirectory, issuer_id: str, how: str, revoked: bool) -> IssuerCause:
    """End it."""
    return local_api.call(data, ENDED, EndedRequest(issuer_id, how, revoked, caller.claimed()))


def list_all(data: DataDirectory) -> tuple[IssuerCause, ...]:
    """All that were recorded."""
    return local_api.call(data, LIST, ListRequest()).causes
