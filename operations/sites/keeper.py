"""Keeps each test site showing what it demonstrates, by ACME like any subscriber.

    valid     renewed when ARI says so, and after 29 days whatever it says (Chrome's automation test
              certificates are no older than 30 days)
    revoked   a new one is revoked before it is shown, and comes before the shown one expires: what is
              shown is always revoked and never expired
    expired   ordered with a notAfter of a few minutes (RFC 8555 section 7.4), shown once that has passed,
              for a year: no profile of its own is needed, which strangers could ask for

Must never: show a certificate whose status is another than the site's name says.

BR 2.2; RFC 8555; RFC 9773; docs/adr/0040.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.clock import Clock
from core.errors import CaError, TransientError
from core.randomness import Randomness
from core.settings import SiteSettings
from core.sites import Site, SiteStatus
from operations.sites.shelf import NEXT, SHOWN, Held, Shelf
from operations.subscriber.client import AcmeClient, AcmeRefused, cert_id, retry_after
from operations.subscriber.order import Orders, PrivateKey, Wish

DAY = 86400

VALID_FOR = 29 * DAY
"""Seconds after which the valid one is renewed at the latest (requirements 2.88: every 30 days)."""

EXPIRED_FOR = 365 * DAY
"""Seconds that the expired one is shown: then its issuing CA may be another."""

RENEWED_FOR = 3600
"""Seconds that a new one is kept whatever ARI says: a broken answer must not have us order without end."""

ASK_AGAIN = 6 * 3600
"""Seconds between two looks at ARI where no Retry-After says otherwise (RFC 9773 section 4.3.3)."""

FIRST_RETRY, LAST_RETRY = 5, 3600
"""Seconds after a failure, doubled each time: a CA that has just begun is not kept waiting for long."""

SUPERSEDED = 4
"""The reason that the revoked one gets (RFC 5280 section 5.3.1): nothing bad happened to its key."""

_log = logging.getLogger(__name__)


class Keeper:
    """One account; `changed` hears of a site that shows something new."""

    def __init__(
        self,
        client: AcmeClient,
        orders: Orders,
        shelf: Shelf,
        settings: SiteSettings,
        clock: Clock,
        randomness: Randomness,
        changed: Callable[[Site], None],
        binding: Callable[[], tuple[str, str] | None] = lambda: None,
    ) -> None:
        self._client = client
        self._orders = orders
        self._shelf = shelf
        self._settings = settings
        self._clock = clock
        self._randomness = randomness
        self._changed = changed
        self._binding = binding
        self._registering = asyncio.Lock()
        self._advised: dict[
            str, tuple[int, int, int]
        ] = {}  # name -> serial, when to renew, when to ask again

    async def keep(self, site: Site) -> None:
        """For ever; runs as a task."""
        retry = FIRST_RETRY
        while True:
            try:
                pause = await self.step(site)
                retry = FIRST_RETRY
            except (CaError, ValueError, OSError) as error:
                if isinstance(error, AcmeRefused) and error.word == "accountDoesNotExist":
                    self._forget_account()
                pause = getattr(error, "retry_after", None) or retry
                retry = min(2 * retry, LAST_RETRY)
                _log.warning("%s: %s; tried again in %d s", site.name, error, pause)
            await asyncio.sleep(min(pause, 3600))

    async def step(self, site: Site) -> int:
        """Do what is due now; the seconds until the next look.  Raises `CaError`."""
        await self._account()
        now = self._clock.now()
        shown, coming = self._shelf.held(site.name, SHOWN), self._shelf.held(site.name, NEXT)
        if coming is not None:
            return await self._bring(site, coming)
        due = 0 if shown is None else await self._due(site, shown)
        if now < due:
            return due - now
        return await self._renew(site, shown)

    async def _renew(self, site: Site, shown: Held | None) -> int:
        key = _key(site.family)
        ends = self._clock.now() + self._settings.expired_life if site.status is SiteStatus.EXPIRED else None
        replaces = cert_id(shown.leaf) if shown and site.status is SiteStatus.VALID else ""
        if replaces and "renewalInfo" not in await self._client.directory():
            replaces = ""
        chain = await self._orders.obtain(Wish(site.name, self._settings.profile, ends, replaces), key)
        if site.status is SiteStatus.VALID:
            self._tell(site, self._shelf.keep(site.name, SHOWN, key, chain))
            return 0
        return await self._bring(site, self._shelf.keep(site.name, NEXT, key, chain))

    async def _bring(self, site: Site, coming: Held) -> int:
        """Make the new one what the site demonstrates, and show it."""
        if site.status is SiteStatus.REVOKED:
            await self._client.revoke(coming.leaf, SUPERSEDED)
        elif (left := coming.ends - self._clock.now()) >= 0:
            return left + 1  # notAfter itself is still valid (RFC 5280 section 4.1.2.5)
        self._shelf.show(site.name)
        self._tell(site, coming)
        return 0

    def _tell(self, site: Site, held: Held) -> None:
        _log.info(
            "%s shows serial %x, until %s", site.name, held.leaf.serial_number, held.leaf.not_valid_after_utc
        )
        self._changed(site)

    async def _due(self, site: Site, shown: Held) -> int:
        """When the next one is to be obtained, POSIX seconds."""
        life = shown.ends - shown.begins
        if site.status is SiteStatus.EXPIRED:
            return shown.ends + EXPIRED_FOR
        late = shown.begins + min(2 * life // 3, VALID_FOR)
        if site.status is SiteStatus.REVOKED:
            return late  # ARI would have it replaced at once: it is revoked
        return min(late, max(await self._advice(site, shown, late), shown.begins + RENEWED_FOR))

    async def _advice(self, site: Site, shown: Held, late: int) -> int:
        """When to renew by ARI, or to ask it again; `late` when it cannot be asked."""
        now, serial = self._clock.now(), shown.leaf.serial_number
        known, renew, again = self._advised.get(site.name, (0, 0, 0))
        if known != serial or now >= again:
            try:
                reply = await self._client.renewal_info(shown.leaf)
                if reply is None:
                    return late
                earliest, latest = _window(reply.body)
            except CaError as error:
                _log.warning("%s: no renewal information: %s", site.name, error)
                return min(late, now + ASK_AGAIN) if now < late else late
            again = now + retry_after(reply.headers, ASK_AGAIN, DAY)
            spread = int.from_bytes(self._randomness.octets(8)) % max(latest - earliest, 1)
            renew = earliest + spread
            self._advised[site.name] = serial, renew, again
        return renew if renew <= now else min(renew, again)

    def _forget_account(self) -> None:
        """A register that was restored from before it has no such account: the same key makes another."""
        self._client.kid = self._shelf.account.url = ""

    async def _account(self) -> None:
        async with self._registering:
            if not self._client.kid:
                self._client.kid = self._shelf.account.url
            if not self._client.kid:
                self._shelf.account.url = await self._client.register(self._binding())


def _key(family: str) -> PrivateKey:
    if family == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def _window(info: dict[str, object]) -> tuple[int, int]:
    """The suggested window (RFC 9773 section 4.2).  Raises `TransientError` for none."""
    window = info.get("suggestedWindow")
    try:
        assert isinstance(window, dict)
        start, end = (int(datetime.fromisoformat(str(window[each])).timestamp()) for each in ("start", "end"))
    except (AssertionError, KeyError, ValueError, OverflowError) as error:
        raise TransientError("renewalInfo has no window that can be read") from error
    return start, end
