"""The canary of a resolver: a name whose signatures are broken must fail, a signed one must be authentic.

Asked every minute.  While either is not so the perspective attests nothing: a resolver that has stopped to
validate would call forged answers good, one without its keys or the time would call good zones broken.  Its
configuration is no proof that it validates; this is.

Both names may come from the resolver's cache.  That our own line to the Internet is not cut is seen by a name
that nobody has asked for before: at every look, and when a check is about to blame the applicant for silence.

BR 3.2.2.4, 3.2.2.8.1; RFC 4035 section 5.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from core.clock import Clock
from core.errors import TransientError
from core.randomness import Randomness
from core.settings import Rules, Settings
from validation.dns.resolver import Fault, LookupFailure, Resolver, Type

BOGUS = "dnssec-failed.org"
SIGNED = "iana.org"
"""On the Internet: broken on purpose by its owner for tests like this one; signed, in a signed top level."""

INTERVAL = 60.0
RED_INTERVAL = 5.0
"""Seconds between two looks, and while it is red: one lost packet shall not cost a minute of verdicts."""

LOOK_SECONDS = 10.0

LINE_SECONDS = 2.0
"""For the answer to a name never asked before: with the 12 s of a check below the 15 s of the coordinator."""

LINE_WELL_SECONDS = 5.0
"""For which such an answer is good, so that a crowd of failing checks asks our neighbours nothing more."""

LABEL_OCTETS = 8

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
        self,
        resolver: Resolver,
        bogus: str,
        signed: str,
        clock: Clock,
        randomness: Randomness,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._resolver = resolver
        self._bogus = bogus
        self._signed = signed
        self._clock = clock
        self._randomness = randomness
        self._sleep = sleep
        self._trouble = "the resolver's canary has not looked yet"
        self._looked = clock.monotonic()
        self._line_well_until = self._looked
        self._asking: asyncio.Task[str] | None = None
        self._wanted = asyncio.Event()

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

    async def require_line(self) -> None:
        """Returns when our own line to the Internet is well, so that silence is the applicant's.

        All who want to know at once share one question.  Raises `TransientError` with what is wrong; then the
        next look is made at once.
        """
        self.require_green()
        if self._clock.monotonic() < self._line_well_until:
            return
        if self._asking is None:
            self._asking = asyncio.create_task(self._look_at_line())
            self._asking.add_done_callback(self._asked)
        # A check that is called off takes the question from nobody else.
        if trouble := await asyncio.shield(self._asking):
            self._wanted.set()
            raise TransientError(trouble)

    async def look(self) -> None:
        """Ask for both names and one that is in no cache, and say in the log what has changed."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await asyncio.gather(self._look_at_bogus(), self._look_at_signed())
                # Last: by now the way to the signed zone is known, and two seconds are enough.
                trouble = "; ".join(filter(None, found)) or await self._look_at_line()
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
            await self._pause(RED_INTERVAL if self.trouble else INTERVAL)
            await self.look()

    async def _pause(self, seconds: float) -> None:
        """Sleep, until a look is wanted."""
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        wanted = asyncio.create_task(self._wanted.wait())
        try:
            await asyncio.wait((sleeping, wanted), return_when=asyncio.FIRST_COMPLETED)
            if sleeping.done():
                sleeping.result()
        finally:
            sleeping.cancel()
            wanted.cancel()
            self._wanted.clear()

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

    async def _look_at_line(self) -> str:
        """What is wrong with our line; "" when a name that is in no cache is answered, be it by NXDOMAIN."""
        began = self._clock.monotonic()
        name = f"{self._randomness.octets(LABEL_OCTETS).hex()}.{self._signed}"
        try:
            async with asyncio.timeout(LINE_SECONDS):
                await self._resolver.lookup(name, Type.A)
        except TimeoutError:
            said = f"not within {LINE_SECONDS:.0f} s"
        except LookupFailure as error:
            # Without the name, which is never the same: one trouble is one line in the log.
            said = error.fault.value
        except TransientError as error:
            return str(error)
        else:
            self._line_well_until = began + LINE_WELL_SECONDS
            return ""
        return f"the line to the Internet is cut: a new name below {self._signed} has no answer: {said}"

    def _asked(self, asking: asyncio.Task[str]) -> None:
        self._asking = None


def of(settings: Settings, resolver: Resolver, clock: Clock, randomness: Randomness) -> Canary | None:
    """The canary that the settings ask for: always under public rules, else when its names are set."""
    validation = settings.validation
    bogus, signed = validation.canary_bogus, validation.canary_signed
    if settings.ca.rules is Rules.PUBLIC:
        return Canary(resolver, bogus or BOGUS, signed or SIGNED, clock, randomness)
    return Canary(resolver, bogus, signed, clock, randomness) if bogus else None
