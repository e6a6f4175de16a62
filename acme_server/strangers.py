"""What one address may ask of us before it has shown whose account it is: the outer bound on our own work.

Counted are requests that nobody signed, and those signed by a key that we do not know, which cost us more.
Requests that turn out to be from no account are counted by themselves: an address that sends very many of
them is not heard until it frees, and a fleet's many nonces never hold up what its account asks.  Each
process counts for itself, in memory: a home across a network would cost more than most of what is bounded
here (docs/adr/0022).

Must never: count what a valid account asks for; depend on the time of day, whose step back stops issuance but
neither the directory nor revocation.

RFC 8555 section 6.6.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from acme_server.registration.rates import moment, refused, span
from core.clock import Clock
from core.errors import CaError
from core.forwarded import Addresses
from core.settings import Settings

LIMIT = "requests-address"

UNKNOWN_KEY = 10
"""Requests that one counts as whose key we do not know: making the key and verifying by it costs as much."""

MOST = 1 << 18
"""Blocks of addresses, and keys, that are remembered; beyond, the longest untouched one is forgotten."""

_FAILED = "failed "
"""Before the block whose requests came from no account."""


@dataclass(slots=True)
class Strangers:
    """One process's count.

    A block is remembered as the time (monotonic) at which its bucket is full again, in 1/count seconds
    (`core.ephemeral.gcra`).
    """

    settings: Settings
    clock: Clock
    addresses: Addresses
    _full: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def admit(self, remote: str, cost: int = 1) -> None:
        """Count a request of this address.  Raises `Problem` (rateLimited) when that is too much."""
        block = self.addresses.block(remote)
        if block is not None:
            self._admit(block, f"from {block} without an account", cost)

    def admit_key(self, thumbprint: str) -> None:
        """The same for a key that has signed, whatever address it comes from."""
        self._admit(thumbprint, "by one key without an account", 1)

    def must_be_heard(self, remote: str) -> None:
        """Raises `Problem` (rateLimited) while too many of the address's signatures were no account's."""
        block = self.addresses.block(remote)
        if block is not None and _FAILED + block in self._full:
            self._admit(_FAILED + block, f"from {block} that no account had signed", 0)

    def failed(self, remote: str) -> None:
        """Count a request of this address that turned out to be from no account."""
        block = self.addresses.block(remote)
        count, period = self._rate
        if block is not None and count:
            now = int(self.clock.monotonic())
            full = max(self._full.get(_FAILED + block, 0), now * count)
            self._keep(_FAILED + block, min(full + period, (now + period) * count), now * count)

    def __len__(self) -> int:
        """How many blocks and keys are remembered."""
        return len(self._full)

    @property
    def _rate(self) -> tuple[int, int]:
        limits = self.settings.limits
        return limits.requests_address, limits.requests_address_period

    def _admit(self, key: str, whose: str, cost: int) -> None:
        count, period = self._rate
        if not count:
            return
        now = int(self.clock.monotonic())
        full = max(self._full.get(key, 0), now * count)
        lacking = full + min(max(cost, 1), count) * period - (now + period) * count
        if lacking > 0:
            seconds = -(-lacking // count)
            raise refused(
                LIMIT,
                f"{count} requests {whose} in {span(period)} are the limit; the next is free "
                + self._in(seconds),
                seconds,
            )
        if cost:
            self._keep(key, full + min(cost, count) * period, now * count)

    def _in(self, seconds: int) -> str:
        try:
            return f"at {moment(self.clock.now() + seconds)}"
        except CaError:  # the clock has stepped back; how long is known all the same
            return f"in {seconds} s"

    def _keep(self, key: str, full: int, now: int) -> None:
        self._full[key] = full
        self._full.move_to_end(key)
        for _ in range(2):  # more than are added, so that full ones do not pile up
            key, full = next(iter(self._full.items()))
            if full > now and len(self._full) <= MOST:
                return
            del self._full[key]
            if not self._full:
                return
