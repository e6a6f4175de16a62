"""The explanation of an authorization, for its holder: our own document beside RFC 8555 section 7.1.4."""

from __future__ import annotations

from acme_server import explanation
from acme_server.authentication import own
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply
from acme_server.registration import rate_limits
from acme_server.registration.rates import Limit
from acme_server.store import attempts, authorizations


async def show(context: Context, request: ByAccount) -> Reply:
    """What each perspective saw in the newest attempts."""
    wanted = request.path["id"]
    found = await context.database.read(lambda rows: authorizations.by_id(rows, wanted))
    authorization = own(request, found, "authorization")
    async with rate_limits.one(context, request.account, Limit.EXPLAIN_ACCOUNT):
        newest, recorded = await context.database.read(
            lambda rows: (
                attempts.newest(rows, wanted, explanation.ATTEMPTS),
                attempts.recorded(rows, wanted),
            )
        )
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
