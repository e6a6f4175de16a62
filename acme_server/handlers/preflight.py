"""POST /acme/preflight: what would become of this order?  Our own, with the payload of newOrder.

The answer is there in 20 seconds, whatever is missing by then.  Nothing is issued, and nothing is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from acme_server import forecast
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply, array
from acme_server.problems import malformed, not_found
from acme_server.registration import authorizations, dry_run, new_order, rate_limits
from acme_server.registration.dry_run import Placed
from acme_server.registration.new_order import Wanted
from acme_server.states import AuthorizationStatus
from acme_server.store import accounts
from core.errors import Problem, TransientError
from core.identifiers import split_wildcard
from core.methods import METHODS
from core.settings import Settings
from validation.mpic.foresight import Foresight

NAMES = 10
"""Looked at in one preflight; of the others it says what policy and limits say."""

SECONDS = 20.0


async def foresee(context: Context, request: ByAccount) -> Reply:
    """What newOrder would say, and what the validations would meet.

    Raises `Problem` (rateLimited) by the limits of its own; everything that newOrder would refuse stands in
    the answer.
    """
    if not context.settings.acme.preflight:
        raise not_found("resource")
    methods = _methods(request.members)
    try:
        wanted = new_order.read(request.members, context.settings, context.clock.now())
    except Problem as refusal:
        async with rate_limits.preflight(context, request.account, ()):
            return Reply(content=forecast.refused(refusal))
    plan = _plan(wanted, methods, context.settings)
    async with rate_limits.preflight(context, request.account, list(plan)):
        said: Placed | Problem
        try:
            said = await dry_run.place(context, request.account, wanted)
        except Problem as refusal:
            said = refusal
        else:
            for each in said.authorizations:
                if each.status is AuthorizationStatus.VALID:
                    plan.pop(each.name, None)
        older = await context.database.read(lambda rows: accounts.older_keys(rows, request.account.id))
        seen = await _look(context, request.account.url, (request.key.thumbprint, *older), plan)
    return Reply(content=forecast.document(wanted, said, seen, request.account, context))


def _methods(members: Mapping[str, Any]) -> Sequence[str]:
    """The methods that the client would use: the optional member `methods`, () for all that are offered."""
    if "methods" not in members:
        return ()
    given = array(members, "methods")
    if not given or not all(isinstance(each, str) and each in METHODS for each in given):
        raise malformed(f"methods must be an array with some of {', '.join(METHODS)}")
    return tuple(dict.fromkeys(given))


def _plan(wanted: Wanted, methods: Sequence[str], settings: Settings) -> dict[str, list[str]]:
    """The first names of the order, and by which methods each is looked at."""
    plan: dict[str, list[str]] = {}
    for name in wanted.names:
        offered = authorizations.offered(*split_wildcard(name), settings)
        chosen = [each for each in offered if not methods or each in methods]
        if chosen and len(plan) < NAMES:
            plan[name] = chosen
    return plan


async def _look(
    context: Context, account_url: str, thumbprints: Sequence[str], plan: Mapping[str, Sequence[str]]
) -> dict[str, Foresight | None]:
    """What was met at each name of the plan; None where no place was free, or the time was over."""

    async def one(name: str, methods: Sequence[str]) -> Foresight | None:
        try:
            return await context.foreseer.look(name, account_url, methods, thumbprints)
        except TransientError:
            return None

    tasks = {name: asyncio.create_task(one(name, methods)) for name, methods in plan.items()}
    if tasks:
        _, late = await asyncio.wait(tasks.values(), timeout=SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    return {name: None if task.cancelled() else task.result() for name, task in tasks.items()}
