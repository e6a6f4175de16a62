"""Asks all perspectives about a name and says what they saw together.

Every call is an attempt of its own: nothing is kept, and no statement of one attempt counts in another, so
that trying again does not collect lucky answers.  BR 3.2.2.9.
"""

from __future__ import annotations

import asyncio
import logging

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import Refused, TransientError
from core.evidence import Result, Statement
from core.randomness import Randomness, token
from core.settings import Settings
from validation.api import CheckRequest
from validation.channel import channels
from validation.mpic import Outcome, Received, conclude

DEADLINE_SECONDS = 15.0
"""For the whole fan-out; a perspective bounds its own work below this."""

STRAGGLER_SECONDS = 2.0
"""After the outcome is settled, statements may still come in for the record that long."""

_log = logging.getLogger(__name__)


class Perspectives:
    """All configured perspectives; the first is the primary."""

    def __init__(
        self,
        data: DataDirectory,
        settings: Settings,
        clock: Clock,
        randomness: Randomness,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._perspectives = settings.validation.perspectives
        self._rules = settings.ca.rules
        self._clock = clock
        self._randomness = randomness
        self._deadline = deadline
        self._channels = channels(data, settings, deadline)

    async def check(self, name: str, account_url: str, method: str, token: str, thumbprint: str) -> Outcome:
        """Control of `name` by `method`, and CAA, seen from everywhere.

        `name` is a normal dNSName, with "*." for a wildcard; `token` is the challenge's, `thumbprint` that of
        the account key (RFC 8555 section 8.1).  Our own faults are indeterminate and do not raise, except
        `HaltIssuance` when a perspective's clock stepped back.
        """
        return await self._fan_out(
            CheckRequest(name, account_url, self._attempt(), method, "", token, thumbprint)
        )

    async def recheck_caa(self, name: str, account_url: str, caa_method: str) -> Outcome:
        """CAA alone, for a name validated earlier by `caa_method` (RFC 8657 binds the recheck to it)."""
        return await self._fan_out(CheckRequest(name, account_url, self._attempt(), "", caa_method))

    async def close(self) -> None:
        """Drop the connections."""
        for channel in self._channels.values():
            await channel.close()

    def _attempt(self) -> str:
        return token(self._randomness)

    async def _fan_out(self, request: CheckRequest) -> Outcome:
        at = self._clock.now()
        received: dict[str, Received] = {}
        tasks = {asyncio.create_task(self._ask(code, request)): code for code in self._channels}
        pending = set(tasks)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline
        settled = False
        outcome: Outcome | None = None
        try:
            while pending and (left := until - loop.time()) > 0:
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    answer = task.result()
                    if answer is not None:
                        received[tasks[task]] = answer
                outcome = conclude(self._rules, self._perspectives, received, at)
                if outcome.result != Result.INDETERMINATE and not settled:
                    settled = True
                    until = min(until, loop.time() + STRAGGLER_SECONDS)
        finally:
            for task in pending:
                task.cancel()
        missing = sorted(tasks[task] for task in pending)
        if missing:
            _log.warning("attempt %s: no answer in time from %s", request.attempt, ", ".join(missing))
        return outcome or conclude(self._rules, self._perspectives, received, at)

    async def _ask(self, code: str, request: CheckRequest) -> Received | None:
        """The statement of one perspective, or None when there is none that answers the request."""
        try:
            signed = await self._channels[code].check(request)
            statement = signed.statement()
        except (TransientError, Refused, ValueError) as error:
            _log.warning("attempt %s: perspective %s: %s", request.attempt, code, error)
            return None
        if not _answers(statement, code, request):
            _log.error(
                "attempt %s: perspective %s answered something that was not asked", request.attempt, code
            )
            return None
        return Received(statement, signed)


def _answers(statement: Statement, code: str, request: CheckRequest) -> bool:
    """Whether the statement is one about this request by that perspective.  The vault verifies signatures."""
    control = statement.control.method if statement.control is not None else ""
    return (
        statement.perspective == code
        and statement.name == request.name
        and statement.account_url == request.account_url
        and statement.attempt == request.attempt
        and control == request.method
        and statement.caa is not None
    )
