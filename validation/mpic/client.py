"""Asks all perspectives about a name and says what they saw together.

Every call is an attempt of its own: nothing is kept, and no statement of one attempt counts in another, so
that trying again does not collect lucky answers.  Who the perspectives are and how many must agree follows
from the settings and the date, never from a caller.  BR 3.2.2.9, 5.4.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from core import facts
from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import HaltIssuance, Refused, TransientError
from core.evidence import Result
from core.outcome import Absence, Outcome
from core.randomness import Randomness, token
from core.registered_domain import registered_domain
from core.settings import Settings
from validation.api import CheckRequest
from validation.limiter import COORDINATOR_PATIENCE, Limiter
from validation.mpic import conclusion as mpic
from validation.mpic.channel import channels
from validation.mpic.conclusion import Absent, Answer, Received
from validation.mpic.review import Contradiction, Review
from validation.verdict import DETAIL_LIMIT, printable

DEADLINE_SECONDS = 15.0
"""For the primary, and then for the fan-out to the others; a perspective bounds its own work below this."""

CHANNEL_MARGIN = 1.0
"""Seconds that a channel waits longer than the fan-out, which alone decides who was silent."""

STRAGGLER_SECONDS = 2.0
"""After the outcome is settled, statements may still come in for the record that long."""

LARGEST_STATEMENT = 65536
"""Octets.  Two traces, the CAA records that are kept whole and the rest make 40 kB at most."""

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
        self._primary = self._perspectives[0].code
        self._rules = settings.ca.rules
        self._review = Review(settings)
        self._clock = clock
        self._randomness = randomness
        self._deadline = deadline
        self._limiter = Limiter(
            settings.validation.concurrency, registered_domain, patience=COORDINATOR_PATIENCE
        )
        self.channels = channels(data, settings, deadline + CHANNEL_MARGIN)
        """The way to each by its code, for who watches over them (operations/alarms/perspectives.py)."""

    async def check(
        self,
        name: str,
        account_url: str,
        method: str,
        token: str,
        thumbprint: str,
        older: Sequence[str] = (),
    ) -> Outcome:
        """Control of `name` by `method`, and CAA, seen from everywhere.

        `name` is a normal dNSName, with "*." for a wildcard; `token` is the challenge's, `thumbprint` that of
        the account key (RFC 8555 section 8.1), `older` those of its earlier keys, the newest first, for a
        method whose record stays.  Our own faults are indeterminate and do not raise, except
        `HaltIssuance` when the clock here or at the primary perspective stepped back, and `TransientError`
        when there is no room for one more now: then nobody was asked.
        """
        request = CheckRequest(
            name, account_url, self._attempt(), method, "", token, thumbprint, tuple(older)
        )
        async with self._limiter.room(name, account_url):
            return await self._fan_out(request)

    async def recheck_caa(self, name: str, account_url: str, caa_method: str) -> Outcome:
        """CAA alone, for a name validated earlier by `caa_method` (RFC 8657 binds the recheck to it).

        An order waits for it, and nobody's hosts but name servers are asked: it needs no room of its own.
        """
        return await self._fan_out(CheckRequest(name, account_url, self._attempt(), "", caa_method))

    async def close(self) -> None:
        """Drop the connections."""
        for channel in self.channels.values():
            await channel.close()

    def _attempt(self) -> str:
        return token(self._randomness)

    async def _fan_out(self, request: CheckRequest) -> Outcome:
        at, began = self._clock.now(), self._clock.monotonic()
        answers = await self._gather(request, at)
        self._clock.now()  # halts when the clock stepped back meanwhile
        conclusion = mpic.conclude(self._rules, self._perspectives, answers, at)
        views = mpic.views(self._perspectives, answers)
        outcome = Outcome(
            attempt=request.attempt,
            result=conclusion.result,
            problem=conclusion.problem,
            detail=conclusion.detail,
            statements=tuple(each.signed for each in self._in_order(answers) if isinstance(each, Received)),
            views=views,
            control_quorum=mpic.tally(views, "control") if request.method else "",
            caa_quorum=mpic.tally(views, "caa"),
            at=at,
            took=round(1000 * (self._clock.monotonic() - began)),
            set_aside=tuple(
                each.signed
                for each in self._in_order(answers)
                if isinstance(each, Absent) and each.signed is not None
            ),
        )
        _report(request, outcome)
        return outcome

    def _in_order(self, answers: dict[str, Answer]) -> list[Answer]:
        return [answers[each.code] for each in self._perspectives]

    async def _gather(self, request: CheckRequest, at: int) -> dict[str, Answer]:
        """An answer for every perspective: its own, or why there is none.

        The primary looks first.  What it does not pass nobody needs to corroborate: the host of a failed
        validation is asked once and not seven times, which leaves an amplifier little.
        """
        remotes = [code for code in self.channels if code != self._primary]
        answers = await self._ask_all([self._primary], {}, request, at)
        if not mpic.worth_corroborating(answers[self._primary]):
            return answers | {code: Absent(Absence.NOT_ASKED, "the primary did not pass") for code in remotes}
        return await self._ask_all(remotes, answers, request, at)

    async def _ask_all(
        self, codes: Sequence[str], known: Mapping[str, Answer], request: CheckRequest, at: int
    ) -> dict[str, Answer]:
        """`known` and the answers of `codes`, asked at once."""
        answers = dict(known)
        tasks = {asyncio.create_task(self._ask(code, request, at)): code for code in codes}
        pending = set(tasks)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline
        settled = False
        try:
            while pending and (left := until - loop.time()) > 0:
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    answers[tasks[task]] = task.result()
                if not settled and mpic.settled(self._rules, self._perspectives, answers, at):
                    settled = True
                    until = min(until, loop.time() + STRAGGLER_SECONDS)
        finally:
            for task in pending:
                task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        late = "it came too late for an outcome that was settled" if settled else "no answer in time"
        return answers | {tasks[task]: Absent(Absence.SILENT, late) for task in pending}

    async def _ask(self, code: str, request: CheckRequest, at: int) -> Answer:
        """What one perspective says, or why its word does not count."""
        try:
            looked = await self.channels[code].check(request)
        except HaltIssuance as error:
            # A remote one whose clock is wrong is one voice less; the primary shares our machine and clock.
            if code == self._primary:
                raise
            return Absent(Absence.HALTED, printable(str(error), DETAIL_LIMIT))
        except Refused as error:
            return Absent(Absence.REFUSED, printable(str(error), DETAIL_LIMIT))
        except (TransientError, ValueError) as error:
            return Absent(Absence.TRANSPORT, printable(str(error), DETAIL_LIMIT))
        except Exception:
            _log.exception("attempt %s: a fault of ours on the way to %s", request.attempt, code)
            return Absent(Absence.TRANSPORT, "a fault of ours; the log says more")
        signed = looked.signed
        if len(signed.payload) + len(signed.signature) > LARGEST_STATEMENT:
            return Absent(Absence.CONTRADICTION, f"its statement has {len(signed.payload)} octets")
        try:
            statement = signed.statement()
            self._review.check(statement, code, request, at, self._clock.now())
        except (Contradiction, ValueError) as error:
            return Absent(Absence.CONTRADICTION, printable(str(error), DETAIL_LIMIT), signed)
        # They are for a person and decide nothing: too many of them are none.
        return Received(statement, signed, looked.facts if len(looked.facts) <= facts.OCTETS else b"")


def _report(request: CheckRequest, outcome: Outcome) -> None:
    """Name those that did not corroborate: one that is always among them needs a person."""
    for view in outcome.views:
        if view.absence is Absence.CONTRADICTION:
            _log.error(
                "attempt %s of %s: perspective %s IS NOT TO BE BELIEVED and corroborates nothing: %s",
                request.attempt, request.name, view.perspective, view.detail,
            )  # fmt: skip
        elif view.absence not in (None, Absence.NOT_ASKED):
            _log.warning(
                "attempt %s of %s: perspective %s does not corroborate (%s): %s",
                request.attempt, request.name, view.perspective, view.absence, view.detail,
            )  # fmt: skip
    others = [view for view in outcome.views if view.result == Result.FAIL]
    if others and outcome.result is Result.PASS:
        _log.warning(
            "attempt %s of %s passed, but perspectives saw something else: %s",
            request.attempt,
            request.name,
            ", ".join(view.perspective for view in others),
        )
