"""The canary of a resolver: a name whose signatures are broken must fail, a signed one must be authentic.

Asked every minute.  While either is not so the perspective attests nothing: a resolver that has stopped to
validate would call forged answers good, one without its keys or the time would call good zones broken.  Its
configuration is no proof that it validates; this is.

BR 3.2.2.4, 3.2.2.8.1; RFC 4035 section 5.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from core.clock import Clock
from core.errors import TransientError
from core.settings import Rules, Settings
from validation.dns.resolver import Fault, LookupFailure, Resolver, Type

BOGUS = "dnssec-failed.org"
SIGNED = "iana.org"
"""On the Internet: broken on purpose by its owner for tests like this one; signed, in a signed top level."""

INTERVAL = 60.0
RED_INTERVAL = 5.0
"""Seconds between two looks, and while it is red: one lost packet shall not cost a minute of verdicts."""

LOOK_SECONDS = 10.0

STALE_SECONDS = 180.0
"""A look that is older says nothing: whatever kept the canary from looking is a fault of its own."""

FIRST_SECONDS = 30.0
"""For which a perspective waits for green under public rules before it serves, red as it may be: it attests
nothing then, while a CA that does not start publishes no revocation either, perhaps for the fault of somebody
else's test zone."""

Sleep = Callable[[float], Awaitable[None]]

_log = logging.getLogger(__name__)


class Canary:
    """Looks through `resolver`; `bogus` and `signed` are its two names."""

    def __init__(
        self, resolver: Resolver, bogus: str, signed: str, clock: Clock, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._resolver = resolver
        self._bogus = bogus
        self._signed = signed
        self._clock = clock
        self._sleep = sleep
        self._trouble = "the resolver's canary has not looked yet"
        self._looked = clock.monotonic()

    @property
    def trouble(self) -> str:
        """Why the resolver is not to be believed now; "" when it is."""
        age = self._clock.monotonic() - self._looked
        if age > STALE_SECONDS:
            return f"the resolver's canary has not looked for {age:.0f} s"
        return self._trouble

    def require_green(self) -> None:
        """Returns when the resolver is to be believed.  Raises `TransientError` with the trouble."""
        if trouble := self.trouble:
            raise TransientError(trouble)

    async def look(self) -> None:
        """Ask for both names, and say it in the log when something has changed."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await asyncio.gather(self._look_at_bogus(), self._look_at_signed())
            trouble = "; ".join(filter(None, found))
        except TimeoutError:
            trouble = f"the resolver's canary had no answers within {LOOK_SECONDS:.0f} s"
        except Exception as error:
            _log.error("the canary failed by a fault of ours", exc_info=error)
            trouble = "the resolver's canary failed by a fault of ours; the log says more"
        self._looked = self._clock.monotonic()
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                _log.error("NO VERDICTS from here: %s", trouble)
            else:
                _log.info("the canary is green: %s fails, %s is authentic", self._bogus, self._signed)

    async def start(self, *, wait: bool) -> None:
        """The first look.  `wait`: until it is green, `FIRST_SECONDS` at most."""
        until = self._clock.monotonic() + FIRST_SECONDS
        await self.look()
        while wait and self.trouble:
            if self._clock.monotonic() >= until:
                _log.critical(
                    "the resolver is not to be believed and NOTHING IS ATTESTED (BR 3.2.2.8.1): %s. Mend it "
                    "and its way to the Internet, or name others as validation.canary_bogus and "
                    "validation.canary_signed",
                    self.trouble,
                )
                return
            await self._sleep(RED_INTERVAL)
            await self.look()

    async def keep(self) -> None:
        """Look for ever."""
        while True:
            await self._sleep(RED_INTERVAL if self.trouble else INTERVAL)
            await self.look()

    async def _look_at_bogus(self) -> str:
        """What is wrong with how the resolver takes the broken name; "" when it fails as it must."""
        try:
            await self._resolver.lookup(self._bogus, Type.A)
        except LookupFailure as error:
            if error.fault in (Fault.BOGUS, Fault.LAME) and "SERVFAIL" in error.detail:
                return ""
            return f"{self._bogus} should fail by its broken DNSSEC, and failed otherwise: {error.detail}"
        except TransientError as error:
            return str(error)
        return (
            f"{self._bogus} has broken DNSSEC and was answered all the same: the resolver does not validate"
        )

    async def _look_at_signed(self) -> str:
        """What is wrong with how the resolver takes the signed name; "" when it is authentic."""
        try:
            answer = await self._resolver.lookup(self._signed, Type.A)
        except LookupFailure as error:
            return f"{self._signed} is signed and is not answered: {error.detail}"
        except TransientError as error:
            return str(error)
        if not answer.authenticated:
            return f"{self._signed} is signed and was not called authentic: the resolver does not validate"
        return ""


def of(settings: Settings, resolver: Resolver, clock: Clock) -> Canary | None:
    """The canary that the settings ask for: always under public rules, else when its names are set."""
    validation = settings.validation
    if settings.ca.rules is Rules.PUBLIC:
        return Canary(resolver, validation.canary_bogus or BOGUS, validation.canary_signed or SIGNED, clock)
    if validation.canary_bogus:
        return Canary(resolver, validation.canary_bogus, validation.canary_signed, clock)
    return None
