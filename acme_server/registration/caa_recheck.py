"""Step (2) of docs/issuance.md: CAA is asked again for names whose answer is too old.

What forbids ends the order; what cannot be seen by a fault of ours is tried again, and what was seen for this
order is not asked twice.  Each recheck is an attempt of its own, on record before anything is made of it.

BR 3.2.2.8.1, 4.2.2.1, 5.4.1; RFC 8659, RFC 8657.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from acme_server import problems
from acme_server.objects import Account, Authorization, Order, identifier
from acme_server.registration.validate import Perspectives, as_problem
from acme_server.store import attempts
from core.database import Database, Transaction
from core.errors import TransientError
from core.evidence import Result, SignedStatement
from core.outcome import Outcome

CAA_GOOD_FOR = 7 * 3600
"""Seconds.  BR 3.2.2.8.1 and 4.2.2.1 allow 8 hours or the TTL; an hour is left for what follows."""

RECORDED = 20
"""Rechecks for one name of one order that are kept when none comes to a verdict.  The job is tried as long as
the order lives, and its ten-thousandth fault says no more than the twentieth; the log has them all."""

_log = logging.getLogger(__name__)


class CaaRecheck:
    """Asks the perspectives, and records what they say."""

    def __init__(self, database: Database, perspectives: Perspectives) -> None:
        self._database = database
        self._perspectives = perspectives

    async def __call__(
        self, order: Order, account: Account, held: Sequence[Authorization], now: int
    ) -> tuple[SignedStatement, ...]:
        """The statements that make the CAA of all names fresh at `now`: none where it is fresh already.

        Raises `Problem` for names that CAA forbids, each with its subproblem; `TransientError` when one could
        not be seen by a fault of ours.
        """
        since = now - CAA_GOOD_FOR
        old = [each for each in held if each.oldest_datum is None or each.oldest_datum < since]
        known = {each.id: attempts.rechecked(self._database.reader, each.id, order.id, since) for each in old}
        asked = [each for each in old if not known[each.id]]
        outcomes = await asyncio.gather(
            # With the method that was really used (RFC 8657 section 4).
            *(self._perspectives.recheck_caa(each.name, account.url, each.method or "") for each in asked)
        )
        seen = list(zip(asked, outcomes, strict=True))
        if seen:
            await self._database.write(lambda tx: _record(tx, order, seen))
        faults = [
            (identifier(each.value), as_problem(outcome))
            for each, outcome in seen
            if outcome.result is Result.FAIL
        ]
        if faults:
            raise problems.joined(faults)
        for each, outcome in seen:
            if outcome.result is Result.INDETERMINATE:
                raise TransientError(f"CAA of {each.name}: {outcome.detail}")
        fresh = (*known.values(), *(outcome.statements for outcome in outcomes))
        return tuple(statement for statements in fresh for statement in statements)


def _record(tx: Transaction, order: Order, seen: Sequence[tuple[Authorization, Outcome]]) -> None:
    for authorization, outcome in seen:
        undecided = outcome.result is Result.INDETERMINATE
        if undecided and attempts.rechecks(tx, authorization.id, order.id) >= RECORDED:
            _log.warning("order %s: CAA of %s: %s", order.id, authorization.name, outcome.detail)
            continue
        attempts.append(tx, authorization, authorization.method or "", outcome, order_id=order.id)
