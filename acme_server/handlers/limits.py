"""`limits`: how an account stands with every limit.

No resource of RFC 8555 but one of ours, linked from the directory's meta; docs/acme.md describes it.

Must never: spend anything but its own bucket.
"""

from __future__ import annotations

from typing import Any

from acme_server import problems
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply, array
from acme_server.objects import identifier
from acme_server.registration import identifiers, rate_limits, rates, standing
from acme_server.registration.limits import BackOff
from acme_server.registration.rates import Claim, Limit
from acme_server.resources import timestamp
from core.ephemeral import Bucket
from core.settings import Limits


async def show(context: Context, request: ByAccount) -> Reply:
    """The document; `identifiers`, as in newOrder, have it tell what an order of them would find."""
    names: tuple[str, ...] = ()
    if request.payload:
        names = identifiers.check(array(request.payload, "identifiers"), context.settings)
    async with rate_limits.one(context, request.account, Limit.LIMITS_ACCOUNT):
        found = await standing.of_account(context, request.account.id, names)
    document: dict[str, Any] = {
        "account": request.account.url,
        "documentation": context.urls.limits,
        "limits": [_bucket(*each) for each in found.buckets]
        + [_back_off(each, context.settings.limits) for each in found.back_offs],
    }
    if names:
        document["identifiers"] = [identifier(name) for name in names]
    if found.refusal is not None:
        document["refusal"] = problems.as_dict(found.refusal) | {"retryAfter": found.refusal.retry_after}
    return Reply(content=document)


def _bucket(claim: Claim, bucket: Bucket) -> dict[str, Any]:
    rate = claim.spend.rate
    members: dict[str, Any] = {
        "limit": claim.limit,
        "counts": claim.counted,
        "count": rate.count,
        "period": rate.period,
        "remaining": bucket.remain,
        "nextFree": timestamp(bucket.frees_at),
        "full": timestamp(bucket.full_at),
        "detail": rates.state(claim, bucket),
    }
    if claim.names:
        members["identifiers"] = [identifier(name) for name in claim.names]
    if claim.override:
        members["override"] = claim.override.partition(":")[0]  # whether by the account or its binding key
    return members


def _back_off(found: BackOff, limits: Limits) -> dict[str, Any]:
    return {
        "limit": "failures",
        "counts": f"validations of names below {found.domain} that failed in a row",
        "count": limits.failures_free,
        "remaining": max(0, limits.failures_free - found.failed),
        "nextFree": timestamp(found.frees_at),
        "detail": found.sentence,
    }
