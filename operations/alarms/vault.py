"""Follows the vault while the app runs: is its token open, is issuance halted, how long does status last?

While the vault is locked nothing new is signed, and every CRL and OCSP answer that relying parties hold grows
old.  So an alarm rises with what is left until the first of them passes its nextUpdate; it also rises when a
CRL is not renewed for any other reason.  When people have activated the vault again, or resumed issuance,
whatever waited goes on by itself.

Must never: let a CRL pass its nextUpdate in silence.

BR 4.9.7, 4.9.10, 6.2.8; CPS 4.9.7, 6.2.8.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import Gauge

from core.clock import Clock
from core.database import Reader
from core.errors import CaError
from core.loops import for_ever
from core.metrics import REGISTRY
from core.settings import Status
from operations.alarms.urgency import Alarms, Urgency
from signer.api import ActivationState
from signer.client import Vault
from status.crl.scopes import last_published, scopes

LOOK_EVERY = 1
"""Seconds between two looks; a look is one small call over the socket."""

CRLS_EVERY = 10
"""Seconds between two looks at the register's CRLs, of which there may be many scopes."""

NOT_CONFORMING = "not conforming: PIN in a file (BR 6.2.8, CPS 6.2.8)"

LOCKED = Gauge("acme_vault_locked", "1 while the vault's token is locked.", registry=REGISTRY)
HALTED = Gauge("acme_issuance_halted", "1 while issuance is halted.", registry=REGISTRY)
LEFT = Gauge(
    "acme_status_left_seconds",
    "Until the first CRL or OCSP answer passes its nextUpdate if nothing new is signed.",
    registry=REGISTRY,
)
URGENCY = Gauge(
    "acme_status_urgency",
    "0 calm, 1 half of the margin is gone, 2 three quarters, 3 all.",
    registry=REGISTRY,
)

_log = logging.getLogger(__name__)


_STATUS = "status"
"""What all alarms here are about."""

_AGAIN_AFTER = {Urgency.CALM: 3600, Urgency.HALF: 1800, Urgency.MOST: 300, Urgency.OVER: 60}
"""Seconds until the same alarm is repeated."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """`what` is old at `at` (POSIX seconds); in normal operation at least `margin` seconds are left."""

    what: str
    at: int
    margin: int

    def urgency(self, now: int) -> Urgency:
        """How near it is: half of the margin is gone, three quarters, all."""
        left = self.at - now
        if left <= 0:
            return Urgency.OVER
        if left * 4 <= self.margin:
            return Urgency.MOST
        return Urgency.HALF if left * 2 <= self.margin else Urgency.CALM


def crl_deadlines(reader: Reader, status: Status, now: int) -> list[Deadline]:
    """Of the newest CRL of every scope of a living issuer."""
    margin = status.crl_validity - status.crl_refresh
    found = [(scope, last_published(reader, scope)) for scope in scopes(reader)]
    # One that is long over belongs to an issuer that has ended: a living one's raised this alarm for days.
    return [
        Deadline(f"CRL {scope.issuer_id}-{scope.shard}", last.next_update, margin)
        for scope, last in found
        if last is not None and last.next_update > now - status.crl_validity
    ]


def ocsp_deadlines(status: Status, state: ActivationState | None) -> list[Deadline]:
    """Of OCSP answers, while the token is locked.

    An answer is renewed when it is asked for after `ocsp_refresh`; so those in use were at most that old when
    the token was closed.
    """
    if state is None or not state.locked:
        return []
    margin = status.ocsp_validity - status.ocsp_refresh
    return [Deadline("OCSP answers", state.since + margin, margin)]


class VaultWatch:
    """`on_open` is called when the token was opened, and when issuance was resumed."""

    def __init__(
        self,
        vault: Vault,
        reader: Reader,
        status: Status,
        clock: Clock,
        on_open: Sequence[Callable[[], Awaitable[None] | None]],
    ) -> None:
        self._vault = vault
        self._reader = reader
        self._status = status
        self._clock = clock
        self._on_open = on_open
        self._state: ActivationState | None = None
        self._alarms = Alarms()
        self._crls: list[Deadline] = []
        self._crls_again_at = 0

    @property
    def state(self) -> ActivationState | None:
        """As last seen; None while the vault does not answer."""
        return self._state

    @property
    def able(self) -> bool:
        """Whether the vault signs certificates now."""
        return self._state is not None and not self._state.locked and not self._state.halted

    async def run(self) -> None:
        """Look for ever."""
        await for_ever(self.look, LOOK_EVERY, _log, "the vault is not watched", logging.WARNING)

    async def look(self) -> None:
        """One look: metrics, alarms, and what waited goes on."""
        was_able = self.able
        try:
            self._state = await self._vault.activation()
        except CaError:
            self._state = None  # the supervisor starts it again, and its log says why
        state = self._state
        LOCKED.set(state is None or state.locked)
        HALTED.set(state is not None and bool(state.halted))
        self._alarm(state)
        if self.able and not was_able:
            for call in self._on_open:
                waiting = call()
                if waiting is not None:
                    await waiting

    def _alarm(self, state: ActivationState | None) -> None:
        now = self._clock.latest()
        if now >= self._crls_again_at:
            self._crls = crl_deadlines(self._reader, self._status, now)
            self._crls_again_at = now + CRLS_EVERY
        found = [*self._crls, *ocsp_deadlines(self._status, state)]
        first = min(found, key=lambda each: (each.at - now) / each.margin, default=None)
        urgency = Urgency.CALM if first is None else first.urgency(now)
        if first is not None:
            LEFT.set(first.at - now)
        URGENCY.set(urgency)
        locked = "" if state is None or not state.locked else locked_text(state)
        if not locked and not urgency:
            self._alarms.over(_STATUS)
        elif self._alarms.raises(_STATUS, (urgency, locked.partition(";")[0]), now, _AGAIN_AFTER[urgency]):
            _log.critical("%s", " - ".join(filter(None, (_WORDS[urgency], locked, _left(first, now)))))


def locked_text(state: ActivationState) -> str:
    """What a locked vault needs, in one line."""
    here = f"; {len(state.activating)} here: {', '.join(state.activating)}" if state.activating else ""
    return f"vault locked: {state.threshold} of {state.holders} people must run `acme-server activate`{here}"


_WORDS = {
    Urgency.CALM: "",
    Urgency.HALF: "ACT TODAY: half of the time is gone",
    Urgency.MOST: "ACT NOW: a quarter of the time is left",
    Urgency.OVER: "TOO LATE: status has expired",
}


def _left(first: Deadline | None, now: int) -> str:
    if first is None:
        return ""
    hours, minutes = divmod(abs(first.at - now) // 60, 60)
    left = f"{hours} h {minutes} min"
    return f"{first.what}: nextUpdate " + (f"passed {left} ago" if first.at <= now else f"in {left}")
