"""What an order would meet, by the word of all perspectives: the quorum of a validation, and no evidence.

The primary looks first here, too, and the others only when it met something that could work, so that a
preflight makes no better amplifier than a validation.  It has places of its own at both ends.

Must never: count for an authorization.  BR 3.2.2.9.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core import facts
from core.clock import Clock
from core.errors import HaltIssuance, Refused, TransientError
from core.evidence import CaaSeen, Result
from core.identifiers import split_wildcard
from core.outcome import Absence, Seen, View
from core.randomness import Randomness, token
from core.registered_domain import registered_domain
from core.settings import Settings
from validation import caa
from validation.api import PreflightRequest, Preview
from validation.caa_value import CaaRecord, MalformedValue
from validation.limiter import Limiter
from validation.mpic.channel import Channel
from validation.mpic.conclusion import UNDECIDED, Absent, agreed, believed, tally
from validation.verdict import DETAIL_LIMIT, printable

DEADLINE_SECONDS = 8.0
"""For the primary, and then for the others: a scout is done in 5 once it has a place."""

AT_ONCE = 8
"""Names looked at by all askers together; the scouts have 10 places each."""

PER_ACCOUNT = 4
PER_DOMAIN = 2
"""As the scouts have it, so that nobody waits there for what could wait here."""

PATIENCE = 3.0
"""Seconds that a name waits for a place."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a validation by `method` would come to now: `control` and `caa` with the quorum of each.

    `views` has a line for every perspective, whose facts are those of control.
    """

    method: str
    control: Seen
    caa: Seen
    control_quorum: str
    caa_quorum: str
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Foresight:
    """What was met at one name; `previews` has an answer of every perspective, in the settings' order."""

    name: str
    forecasts: tuple[Forecast, ...]
    previews: Mapping[str, Preview | Absent]


class Foreseer:
    """Asks the perspectives beforehand, by their `channels`; the first of the settings is the primary."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        settings: Settings,
        clock: Clock,
        randomness: Randomness,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._channels = channels
        self._perspectives = settings.validation.perspectives
        self._rules = settings.ca.rules
        self._identities = frozenset(each.lower() for each in settings.ca.caa_identities)
        self._clock = clock
        self._randomness = randomness
        self._deadline = deadline
        self._limiter = Limiter(AT_ONCE, registered_domain, PER_DOMAIN, PER_ACCOUNT, PER_DOMAIN, PATIENCE)

    async def look(
        self, name: str, account_url: str, methods: Sequence[str], thumbprints: Sequence[str]
    ) -> Foresight:
        """What validations of `name` by `methods` would meet.  Who is silent is named, and holds up nobody.

        `thumbprints` are those of the account's keys, the current one first.
        Raises `TransientError` when others hold all places.
        """
        request = PreflightRequest(
            name, account_url, tuple(methods), token(self._randomness), tuple(thumbprints)
        )
        async with self._limiter.room(name, account_url):
            return self._concluded(request, await self._gather(request))

    async def _gather(self, request: PreflightRequest) -> dict[str, Preview | Absent]:
        primary, *remotes = (each.code for each in self._perspectives)
        first = await self._ask(primary, request)
        if isinstance(first, Absent) or not any(each.seen.result is Result.PASS for each in first.prospects):
            why = Absent(Absence.NOT_ASKED, "the primary met nothing that could work")
            return {primary: first, **dict.fromkeys(remotes, why)}
        others = await asyncio.gather(*(self._ask(code, request) for code in remotes))
        return {primary: first, **dict(zip(remotes, others, strict=True))}

    async def _ask(self, code: str, request: PreflightRequest) -> Preview | Absent:
        try:
            async with asyncio.timeout(self._deadline):
                return await self._channels[code].preflight(request)
        except TimeoutError:
            return Absent(Absence.SILENT, "no answer in time")
        except HaltIssuance as error:
            return Absent(Absence.HALTED, printable(str(error), DETAIL_LIMIT))
        except Refused as error:
            return Absent(Absence.REFUSED, printable(str(error), DETAIL_LIMIT))
        except (TransientError, ValueError) as error:
            return Absent(Absence.TRANSPORT, printable(str(error), DETAIL_LIMIT))

    def _concluded(self, request: PreflightRequest, previews: dict[str, Preview | Absent]) -> Foresight:
        forecasts = tuple(self._forecast(request, method, previews) for method in request.methods)
        return Foresight(request.name, forecasts, previews)

    def _forecast(
        self, request: PreflightRequest, method: str, previews: Mapping[str, Preview | Absent]
    ) -> Forecast:
        _, wildcard = split_wildcard(request.name)
        issuance = caa.Issuance(wildcard, self._identities, request.account_url, method)
        views = tuple(_view(code, answer, method, issuance) for code, answer in previews.items())
        at = self._clock.now()
        control = {each.perspective: each.control or UNDECIDED for each in views}
        permitted = {each.perspective: each.caa or UNDECIDED for each in views}
        return Forecast(
            method,
            agreed(self._rules, self._perspectives, control, at),
            agreed(self._rules, self._perspectives, permitted, at),
            tally(views, "control"),
            tally(views, "caa"),
            views,
        )


def _view(code: str, answer: Preview | Absent, method: str, issuance: caa.Issuance) -> View:
    if isinstance(answer, Absent):
        return View(code, absence=answer.why, detail=answer.detail)
    found = next((each for each in answer.prospects if each.method == method), None)
    control = UNDECIDED if found is None else believed(found.seen)
    kept = b"" if found is None or len(found.facts) > facts.OCTETS else found.facts
    return View(code, control, believed(_permission(answer.caa, issuance)), answer.took, facts=kept)


def _permission(seen: CaaSeen, issuance: caa.Issuance) -> CaaSeen | Seen:
    """What the records that were found say to this issuance: they were judged for another method, perhaps."""
    if not seen.records or (seen.result is Result.FAIL and seen.problem != "caa"):
        return seen
    try:
        caa.evaluate([CaaRecord.from_presentation(each) for each in seen.records], issuance)
    except caa.CaaForbids as error:
        return Seen(Result.FAIL, error.problem, f"CAA at {seen.found_at}: {error.detail}")
    except MalformedValue:
        return seen  # too long to be had whole, and refused for that
    return Seen(Result.PASS)
