"""Authorizations: asked for beforehand, shown and deactivated (RFC 8555 sections 7.4.1, 7.5, 7.5.2)."""

from __future__ import annotations

from acme_server import resources
from acme_server.authentication import own
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply, text
from acme_server.objects import Authorization, Challenge
from acme_server.problems import malformed
from acme_server.registration import authorizations as rules
from acme_server.registration import pre_authorization, rate_limits, still_valid
from acme_server.registration.deactivate import deactivate_authorization
from acme_server.registration.rates import Limit
from acme_server.states import AUTHORIZATION, ChallengeStatus, Event
from acme_server.store import authorizations
from core.database import Rows, Transaction


async def create(context: Context, request: ByAccount) -> Reply:
    """newAuthz: an authorization before any order (201); the account's own, where it has a usable one."""
    name = pre_authorization.name(request.members.get("identifier"), context.settings)

    def unit(tx: Transaction) -> tuple[Authorization, list[Challenge]]:
        still_valid.must_be_valid(tx, request.account.id)
        made = rules.for_name(tx, request.account, name, context.settings, context.randomness)
        tx.audit(
            "authorization.requested",
            f"account:{request.account.id}",
            {"authorization": made.id, "name": name, "status": made.status},
        )
        return made, authorizations.challenges_of(tx, made.id)

    async with rate_limits.one(context, request.account, Limit.NEW_ORDER_ACCOUNT):
        made, challenges = await context.database.write(unit)
    now = context.clock.now()
    return Reply(
        201,
        resources.authorization(made, challenges, request.account, context.settings, context.urls, now),
        headers={"Location": context.urls.authorization(made.id)},
    )


async def show_or_deactivate(context: Context, request: ByAccount) -> Reply:
    """POST-as-GET shows it; `{"status": "deactivated"}` gives it up.

    While a challenge of it is processing the answer is held for a moment, in case a verdict comes.
    """
    wanted = request.path["id"]
    since = context.changes.count
    found, challenges = await context.database.read(lambda reader: _load(reader, wanted))
    authorization = own(request, found, "authorization")
    if request.payload is not None:
        if text(request.payload, "status") != "deactivated":
            raise malformed('the only status that an authorization can be given is "deactivated"')
        authorization, challenges = await context.database.write(lambda tx: _deactivate(tx, wanted))
    elif processing := _processing(challenges):
        with context.changes.watch(*processing, since=since) as moved:
            if await moved.within(context.settings.acme.hold):
                authorization, challenges = await _reload(context, wanted)
    now = context.clock.now()
    headers = {}
    if _processing(challenges):
        headers["Retry-After"] = str(context.settings.acme.poll_interval)
    return Reply(
        content=resources.authorization(
            authorization, challenges, request.account, context.settings, context.urls, now
        ),
        headers=headers,
    )


def _processing(challenges: list[Challenge]) -> list[str]:
    return [each.id for each in challenges if each.status is ChallengeStatus.PROCESSING]


async def _reload(context: Context, authorization_id: str) -> tuple[Authorization, list[Challenge]]:
    authorization, challenges = await context.database.read(lambda reader: _load(reader, authorization_id))
    assert authorization is not None
    return authorization, challenges


def _load(rows: Rows, authorization_id: str) -> tuple[Authorization | None, list[Challenge]]:
    return (
        authorizations.by_id(rows, authorization_id),
        authorizations.challenges_of(rows, authorization_id),
    )


def _deactivate(tx: Transaction, authorization_id: str) -> tuple[Authorization, list[Challenge]]:
    authorization, _ = _load(tx, authorization_id)
    assert authorization is not None
    status = authorization.status_at(tx.now)
    if not AUTHORIZATION.allows(status, Event.DEACTIVATED):
        raise malformed(f"an authorization that is {status} cannot be deactivated")
    deactivate_authorization(tx, authorization)
    after, challenges = _load(tx, authorization_id)
    assert after is not None
    return after, challenges
