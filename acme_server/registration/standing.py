"""How an account stands with its limits: what the `limits` document, preflight and the operator are told.

It makes the claims that newOrder would make, and only looks (docs/adr/0022).

Must never: spend; tell of another account more than what both share, the certificates of a domain.

RFC 8555 section 6.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acme_server.context import Context
from acme_server.registration import authorizations, limits, rates
from acme_server.registration.limits import BackOff
from acme_server.registration.rates import Claim, Limit, Rates
from acme_server.store import attempts, overrides
from core.database import Rows
from core.ephemeral import Bucket
from core.errors import Problem
from core.registered_domain import registered_domain
from core.settings import Limits

BACK_OFFS_SHOWN = 100
"""Domains below which validations failed, when no names were asked for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The buckets, each with how it stands; the failures in a row; and what newOrder would be refused with.

    `refusal` is about the names that were asked for, None when no limit refuses them now.
    """

    buckets: tuple[tuple[Claim, Bucket], ...]
    back_offs: tuple[BackOff, ...]
    refusal: Problem | None


async def of_account(context: Context, account_id: str, names: Sequence[str]) -> Standing:
    """How the account stands; with `names`, as an order of them would find it.  Raises `TransientError`."""
    now, settings = context.clock.now(), context.settings

    def read(rows: Rows) -> tuple[Rates, list[BackOff], list[BackOff]]:
        by_account = Rates(settings.limits, overrides.of_account(rows, account_id))
        unmet = [each for each in names if authorizations.held(rows, account_id, each, settings, now) is None]
        return (
            by_account,
            _back_offs(rows, account_id, names, settings.limits, now),
            _back_offs(rows, account_id, unmet, settings.limits, now) if unmet else [],
        )

    by_account, back_offs, met = await context.database.read(read)
    if names:
        claims = rates.of_order(by_account, account_id, names)
    else:
        claims = by_account.claim(Limit.NEW_ORDER_ACCOUNT, account_id, 1)
    offered = [Limit.CHANGE_ACCOUNT, Limit.LIMITS_ACCOUNT, Limit.EXPLAIN_ACCOUNT]
    if context.settings.acme.preflight:
        offered.append(Limit.PREFLIGHT_ACCOUNT)
    others = [claim for limit in offered for claim in by_account.claim(limit, account_id, 1)]
    stands = await context.buckets.look([each.spend for each in [*claims, *others]], now)
    refusal = None
    if names:
        refusal = rates.reached(claims, stands[: len(claims)], now)
        waiting = [each for each in met if each.frees_at > now]
        if refusal is None and waiting:
            refusal = limits.refused_by(waiting[0], now)
    return Standing(tuple(zip([*claims, *others], stands, strict=True)), tuple(back_offs), refusal)


def _back_offs(rows: Rows, account_id: str, names: Sequence[str], bounds: Limits, now: int) -> list[BackOff]:
    """Those below the names' registered domains; below any where there are no names."""
    if names:
        domains = list(dict.fromkeys(map(registered_domain, names)))
    else:
        since = limits.remembered(bounds, now)
        domains = attempts.domains_that_failed(rows, account_id, since, BACK_OFFS_SHOWN)
    found = (limits.back_off_of(rows, account_id, domain, bounds, now) for domain in domains)
    return [each for each in found if each.failed]
