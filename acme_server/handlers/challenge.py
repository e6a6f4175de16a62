"""Challenges: shown, and answered by the client (RFC 8555 section 7.5.1)."""

from __future__ import annotations

from acme_server import resources
from acme_server.authentication import own
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply
from acme_server.objects import Authorization, Challenge
from acme_server.registration import validate
from acme_server.states import ChallengeStatus
from acme_server.store import authorizations
from core.database import Rows


async def show_or_answer(context: Context, request: ByAccount) -> Reply:
    """POST-as-GET shows it; an object (`{}`, unknown members ignored) says that it is ready."""
    wanted = request.path["id"]
    since = context.changes.count
    challenge, authorization = await context.database.read(lambda reader: _load(reader, wanted))
    own(request, authorization, "challenge")
    assert challenge is not None
    if request.payload is not None and challenge.status is ChallengeStatus.PENDING:
        challenge = await context.database.write(
            lambda tx: validate.begin(tx, wanted, context.settings.limits)
        )
        context.wake_jobs()
    elif request.payload is None and challenge.status is ChallengeStatus.PROCESSING:
        with context.changes.watch(wanted, since=since) as moved:
            if await moved.within(context.settings.acme.hold):
                challenge, _ = await context.database.read(lambda reader: _load(reader, wanted))
                assert challenge is not None
    headers = {}
    if challenge.status is ChallengeStatus.PROCESSING:
        headers["Retry-After"] = str(context.settings.acme.poll_interval)
    return Reply(
        content=resources.challenge(challenge, request.account, context.settings, context.urls),
        headers=headers,
        links=(("up", context.urls.authorization(challenge.authorization_id)),),
    )


def _load(rows: Rows, challenge_id: str) -> tuple[Challenge | None, Authorization | None]:
    challenge = authorizations.challenge_by_id(rows, challenge_id)
    if challenge is None:
        return None, None
    return challenge, authorizations.by_id(rows, challenge.authorization_id)
