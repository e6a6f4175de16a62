"""The explanation of an authorization, for its holder: our own document beside RFC 8555 section 7.1.4."""

from __future__ import annotations

from acme_server import explanation
from acme_server.authentication import own
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply
from acme_server.objects import Attempt, Authorization
from acme_server.store import attempts, authorizations
from core.database import Rows


async def show(context: Context, request: ByAccount) -> Reply:
    """What each perspective saw in the newest attempts."""
    wanted = request.path["id"]

    def load(rows: Rows) -> tuple[Authorization | None, list[Attempt], int]:
        found = authorizations.by_id(rows, wanted)
        return found, attempts.newest(rows, wanted, explanation.ATTEMPTS), attempts.recorded(rows, wanted)

    found, newest, recorded = await context.database.read(load)
    authorization = own(request, found, "authorization")
    content = explanation.document(
        authorization,
        newest,
        recorded,
        request.account,
        context.settings,
        context.urls,
        context.clock.now(),
    )
    return Reply(content=content, links=(("up", context.urls.authorization(wanted)),))
