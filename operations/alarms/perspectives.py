"""Follows the perspectives while the app runs: is each the one that the settings name, and is it well?

What a perspective says of itself is compared with the settings and with the key that the vault has pinned.
One that contradicts them is not asked, loudly, until it agrees again; under public rules the CA does not
start with it.  One that is away is waited for: the quorum decides what its silence means.

Must never: take a perspective's word for anything but a reason not to ask it.

BR 3.2.2.9.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError
from core.loops import for_ever
from core.metrics import REGISTRY
from core.settings import Perspective, Rules, Settings
from operations.alarms.urgency import Alarms
from validation.api import Health
from validation.mpic.channel import Channel
from validation.mpic.mutual_tls import COORDINATOR, RENEWAL, Identity

LOOK_SECONDS = 60
"""Between two looks: half a WARM_SECONDS of a server, so that the channels stay warm too."""

PATIENCE = 5.0
"""Seconds for all answers of one look; who needs longer is away for now."""

WARN_EVERY = 60
"""Looks between two warnings of one thing: an hour."""

WELL = Gauge("acme_perspective_well", "1 while a perspective is asked.", ("code",), registry=REGISTRY)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """One perspective at the last look.

    `wrong` says why it is not the one of the settings, `away` why it gave no account or reaches no verdicts;
    both are "" when it is well.  `ends` is the end of its channel's certificate in POSIX seconds, 0 when it
    has none or is away.
    """

    code: str
    url: str
    wrong: str = ""
    away: str = ""
    ends: int = 0

    @property
    def well(self) -> bool:
        return not (self.wrong or self.away)


async def look(
    channels: Mapping[str, Channel],
    perspectives: tuple[Perspective, ...],
    pinned: Mapping[str, bytes],
    now: int,
) -> list[State]:
    """How each of them is.  `pinned` are SubjectPublicKeyInfos by code; who is not there is not compared."""

    async def one(place: Perspective) -> State:
        try:
            async with asyncio.timeout(PATIENCE):
                health = await channels[place.code].health()
        except TimeoutError:
            return State(place.code, place.url, away=f"no answer in {PATIENCE:.0f} s")
        except CaError as error:
            return State(place.code, place.url, away=str(error))
        except Exception:
            _log.exception("a fault of ours while asking perspective %s for its health", place.code)
            return State(place.code, place.url, away="a fault of ours; the log says more")
        wrong = contradiction(place, health, pinned.get(place.code), now)
        return State(place.code, place.url, wrong=wrong, away=health.trouble, ends=health.ends)

    return list(await asyncio.gather(*(one(place) for place in perspectives)))


def contradiction(place: Perspective, health: Health, pinned: bytes | None, now: int) -> str:
    """What `health` says that the settings or the vault do not; "" when they agree."""
    if health.code != place.code:
        return f"it calls itself {health.code!r}"
    if health.region != place.region:
        return f"it says that it is in the region {health.region!r}, not {place.region!r}"
    if pinned is not None and health.public_key != pinned:
        return "its signing key is not the one that the ceremony pinned"
    if health.ends and health.ends <= now:
        return "its channel's certificate has ended"
    return ""


def own_warning(perspectives: tuple[Perspective, ...], data: DataDirectory, now: int) -> str:
    """What is to be said of the CA's own end of the channels; "" when nothing is, or there are none."""
    if not any(place.url for place in perspectives):
        return ""
    try:
        return Identity(data.mpic, server=False).warning(now)
    except ConfigurationError as error:
        return str(error)


class PerspectiveWatch:
    """Looks at all perspectives, again and again."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        settings: Settings,
        data: DataDirectory,
        pinned: Mapping[str, bytes],
        clock: Clock,
    ) -> None:
        self._channels = channels
        self._data = data
        self._perspectives = settings.validation.perspectives
        self._public = settings.ca.rules is Rules.PUBLIC
        self._pinned = pinned
        self._clock = clock
        self._alarms = Alarms()
        self._looks = 0
        for code, public_key in pinned.items():
            channels[code].pin(public_key)

    async def start(self) -> None:
        """The first look.

        Raises `ConfigurationError` when one contradicts the settings and the rules are public.
        """
        states = await self.look()
        wrong = [state for state in states if state.wrong]
        if wrong and self._public:
            raise ConfigurationError(
                "a perspective is not the one of validation.perspectives: "
                + "; ".join(f"{state.code}: {state.wrong}" for state in wrong)
                + ". Set right whichever is wrong, or hold a ceremony that pins the new one"
            )

    async def look(self) -> list[State]:
        """Look at each once, and ask no more who contradicts."""
        states = await look(self._channels, self._perspectives, self._pinned, self._clock.latest())
        for state in states:
            self._channels[state.code].distrust(state.wrong)
            WELL.labels(state.code).set(state.well)
            self._tell(state)
        if warning := own_warning(self._perspectives, self._data, self._clock.latest()):
            self._say(logging.WARNING, COORDINATOR, warning)
        self._looks += 1
        return states

    async def run(self) -> None:
        """Look for ever."""
        await asyncio.sleep(LOOK_SECONDS)  # `start` has looked
        await for_ever(self.look, LOOK_SECONDS, _log, "the perspectives could not be looked at")

    def _tell(self, state: State) -> None:
        if state.wrong:
            self._say(
                logging.CRITICAL,
                state.code,
                f"this perspective IS NOT TO BE BELIEVED and is not asked: {state.wrong}",
            )
        elif state.away:
            self._say(logging.ERROR, state.code, f"this perspective is away: {state.away}")
        elif state.ends and (left := state.ends - self._clock.latest()) < RENEWAL:
            self._say(logging.WARNING, state.code, f"its channel's certificate ends in {left // 86400} days")
        else:
            self._alarms.over(state.code)

    def _say(self, level: int, code: str, what: str) -> None:
        """Once an hour, and at once when it is another thing."""
        if self._alarms.raises(code, what, self._looks, WARN_EVERY):
            _log.log(level, "%s: %s", code, what)
