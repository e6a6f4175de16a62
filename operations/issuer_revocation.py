"""`acme-server revoke-issuer ID`: everything that an issuing CA signed is revoked, through the running app.

The CA's own certificate is another matter: it goes into the root's CRL, and that needs a ceremony
(docs/drills.md).

Must never: begin without the issuer's id typed out; stop half-way in silence.

BR 4.9.1.2, 5.7.1.2; CPS 5.7.3.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Callable
from dataclasses import dataclass

from core import certificates, mass_revocation
from core.data_directory import DataDirectory
from core.database import Database
from core.errors import Refused
from core.rpc import Method, RpcClient, RpcServer


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The next certificates after row `after` (0 at first); `reason` by RFC 5280 section 5.3.1."""

    issuer_id: str
    after: int
    reason: int
    cause: str
    actor: str


REVOKE_PAGE = Method("revoke-issuer-page", PageRequest, mass_revocation.Page)


def serve(answering: RpcServer, database: Database, on_revocation: Callable[[], None]) -> None:
    """Add the app's side to the operator's socket."""

    async def page(request: PageRequest) -> mass_revocation.Page:
        try:
            made = await database.write(
                lambda tx: mass_revocation.revoke_page(
                    tx,
                    request.issuer_id,
                    request.after,
                    request.reason,
                    request.cause,
                    actor=f"operator {request.actor}",
                )
            )
        except certificates.UnknownCertificate as error:
            raise Refused("revocation.issuer", str(error)) from error
        except ValueError as error:
            raise Refused("revocation.reason", str(error)) from error
        if made.revoked:
            on_revocation()
        return made

    answering.add(REVOKE_PAGE, page)


def revoke_all(
    data: DataDirectory, issuer_id: str, reason: int, cause: str, progress: Callable[[int], None]
) -> int:
    """The command line's side: how many were revoked; `progress` hears the number so far after each page.

    Raises `Refused`, or `TransientError` when no app runs here; called again it goes on.
    """
    return asyncio.run(_revoke_all(data, issuer_id, reason, cause, progress))


async def _revoke_all(
    data: DataDirectory, issuer_id: str, reason: int, cause: str, progress: Callable[[int], None]
) -> int:
    client = RpcClient(data.app_socket, owner=data.audit)
    total, after = 0, 0
    try:
        while True:
            request = PageRequest(issuer_id, after, reason, cause, getpass.getuser())
            page = await client.call(REVOKE_PAGE, request)
            total, after = total + page.revoked, page.after
            if page.revoked:
                progress(total)
            if page.done:
                return total
    finally:
        await client.close()
