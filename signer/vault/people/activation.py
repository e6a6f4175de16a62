"""People at the vault: together they open and close its token; one halts issuance, together they resume it.

k holders each hand over their share, sealed to a session key that is new after every opening and closing, and
signed; the k-th opens the token.  Closing needs k signatures.  One person's word halts issuance, since a
halt harms little and may be urgent; to resume k holders sign, or the operator where the PIN lies in a file.

Must never: take a share in the clear; keep one longer than ten minutes; try a PIN that was not proven.

BR 5.2.2, 6.2.2, 6.2.8, 6.2.9, 6.4; CPS 5.2, 6.2.8, 6.2.9, 6.4; docs/adr/0007-activation.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from core.clock import Clock
from core.errors import CaError, HaltIssuance, Refused
from core.people import Person, unseal, verify
from core.randomness import Randomness
from signer import consent
from signer.api import (
    ActivateRequest,
    ActivationState,
    ConsentRequest,
    HaltRequest,
    Nothing,
)
from signer.vault.people import shares
from signer.vault.people.lock import Lock
from signer.vault.people.shares import taken, wipe
from signer.vault.record.journal import Journal, Kind
from signer.vault.sealed.seal import SealedActivation

PATIENCE = 600
"""Seconds in which all must come; then a share is forgotten, and its holder comes again."""

MAX_REASON = 500
"""Characters of a reason, which stands in a journal entry and in every refusal while the halt lasts."""

_SESSION_KEY = 32  # octets
_ID = 16  # characters of `Person.id`: more of what a caller says is not written down
_log = logging.getLogger(__name__)


class Gathering:
    """Who has come for one purpose within `PATIENCE`, each with something that is wiped in the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._came: dict[str, tuple[float, Person, int, bytearray]] = {}

    def come(self, person: Person, index: int, brought: bytearray) -> None:
        """One more.  Raises `Refused` when the same person is here already."""
        self.forget_late()
        if person.id in self._came:
            wipe(brought)
            raise Refused(
                "activation.twice", f"{person.name} has come already: another holder must come, too"
            )
        self._came[person.id] = (self._clock.monotonic() + PATIENCE, person, index, brought)

    @property
    def people(self) -> tuple[Person, ...]:
        """Those who are here."""
        self.forget_late()
        return tuple(person for _, person, _, _ in self._came.values())

    @property
    def brought(self) -> dict[int, bytearray]:
        """What they brought, by index; no copy of it."""
        return {index: octets for _, _, index, octets in self._came.values()}

    def forget_late(self) -> None:
        """Forget those who came too long ago."""
        now = self._clock.monotonic()
        for id in [id for id, (until, *_) in self._came.items() if until <= now]:
            wipe(self._came.pop(id)[3])

    def forget(self) -> None:
        """Forget everybody."""
        for *_, brought in self._came.values():
            wipe(brought)
        self._came.clear()


class Activation:
    """The methods of signer/api.py that people use.  `sealed` is None where the PIN lies in a file."""

    def __init__(
        self,
        sealed: SealedActivation | None,
        token: str,
        lock: Lock,
        journal: Journal,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._sealed = sealed
        self._token = token
        self._lock = lock
        self._journal = journal
        self._clock = clock
        self._randomness = randomness
        self._turning = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        self._activating, self._deactivating, self._resuming = (Gathering(clock) for _ in range(3))
        last = journal.last
        self._since = last.at if last is not None else clock.now()
        self._session = self._new_session()

    @property
    def locked_message(self) -> str:
        """What a caller is told while the token is locked, and what to do about it."""
        if self._sealed is None:
            return "the vault's token is not open: see its log"
        return (
            f"the vault is locked: {self._sealed.threshold} of {len(self._sealed.holders)} people must "
            "activate it, each with `acme-server activate`"
        )

    def opened(self) -> None:
        """The token was opened without people, with the PIN of a file."""
        self._turn()

    def login_lost(self) -> None:
        """The token has logged us out: lock the vault, so that people can activate it again."""
        if self._sealed is not None and self._lock.is_open and self._closing is None:
            self._closing = asyncio.create_task(self._close_lost())

    async def state(self, _: Nothing) -> ActivationState:
        """Whether the token is open, who has come, whether issuance is halted."""
        halt = self._journal.halt
        return ActivationState(
            token=self._token,
            locked=not self._lock.is_open,
            threshold=0 if self._sealed is None else self._sealed.threshold,
            holders=0 if self._sealed is None else len(self._sealed.holders),
            since=self._since,
            session_key=self._session.public_key().public_bytes_raw(),
            activating=_names(self._activating),
            deactivating=_names(self._deactivating),
            resuming=_names(self._resuming),
            halted="" if halt is None else halt.issuance_id,
            halted_at=0 if halt is None else halt.at,
            halt=0 if halt is None else halt.sequence,
        )

    async def activate(self, request: ActivateRequest) -> ActivationState:
        """Take one person's share; with the k-th, open the token.

        Raises `Refused` when the share is not what it should be (nothing of it is kept, no PIN was tried),
        and what `Lock.open` raises.
        """
        async with self._turning, self._refusals_recorded(consent.ACTIVATE, request.holder_id):
            state = await self.state(Nothing())
            if not state.locked:
                raise Refused("activation.open", "the vault is active already: nothing is to be done")
            sealed, holder, index = self._holder(request.holder_id)
            if request.index != index:
                raise Refused("share.wrong", f"{holder.name} holds share {index}, not {request.index}")
            octets = consent.activation_octets(state, index, request.sealed)
            verify(holder, consent.ACTIVATE, octets, request.signature)
            part = taken(unseal(self._session, consent.share_info(state, index), request.sealed))
            try:
                shares.must_be_share(part, index, sealed.check, self._token)
            except Refused:
                wipe(part)
                raise
            self._activating.come(holder, index, part)
            self._forget_in_time(self._activating)
            _log.info("vault: %s has come to activate it", holder.name)
            if len(self._activating.people) >= sealed.threshold:
                await self._open(sealed)
            return await self.state(Nothing())

    async def deactivate(self, request: ConsentRequest) -> ActivationState:
        """Take one person's word; with the k-th, close the token.  Raises `Refused`."""
        async with self._turning, self._refusals_recorded(consent.DEACTIVATE, request.holder_id):
            state = await self.state(Nothing())
            if self._sealed is None:
                raise Refused(
                    "activation.file", "the PIN lies in a file, so it would open itself again: stop the CA"
                )
            if state.locked:
                raise Refused("activation.locked", "the vault is locked already: nothing is to be done")
            if self._agreed(self._deactivating, consent.DEACTIVATE, request, state):
                by = _who(self._deactivating)
                await self._lock.close(self.locked_message)
                self._turn()
                await self._journal.append(Kind.DEACTIVATE, issuance_id=by)
                _log.critical("vault: LOCKED by %s", by)
            return await self.state(Nothing())

    async def halt(self, request: HaltRequest) -> ActivationState:
        """Issue nothing to subscribers from now on, whatever is under way.  Raises `Refused`."""
        if not request.reason.strip() or len(request.reason) > MAX_REASON:
            raise Refused("halt.reason", f"say why, in at most {MAX_REASON} characters: people must judge it")
        if self._journal.halt is None:
            # In force from the call on, not only when durable: what has its intent ends, no more begins.
            await self._journal.append(Kind.HALT, issuance_id=f"{request.actor}: {request.reason.strip()}")
            _log.critical("ISSUANCE HALTED by %s: %s", request.actor, request.reason)
        return await self.state(Nothing())

    async def resume(self, request: ConsentRequest) -> ActivationState:
        """Take one person's word; with the k-th, go on.  With the PIN in a file the operator's is enough."""
        async with self._turning, self._refusals_recorded(consent.RESUME, request.holder_id):
            state = await self.state(Nothing())
            if not state.halted:
                raise Refused("halt.none", "issuance is not halted: nothing is to be done")
            by = request.actor
            if self._sealed is not None:
                if not self._agreed(self._resuming, consent.RESUME, request, state):
                    return await self.state(Nothing())
                by = _who(self._resuming)
                self._resuming.forget()
            await self._journal.append(Kind.RESUME, issuance_id=by)
            _log.critical("issuance RESUMED by %s", by)
            return await self.state(Nothing())

    async def _close_lost(self) -> None:
        async with self._turning:
            await self._lock.close(self.locked_message)
            self._turn()
            self._closing = None
            _log.critical("vault: LOCKED, as the token logged us out: %s", self.locked_message)

    async def _open(self, sealed: SealedActivation) -> None:
        by = _who(self._activating)
        secret = bytearray()
        try:
            secret = shares.combine(self._activating.brought, sealed.threshold, sealed.check, self._token)
            await self._lock.open(shares.pin_of(secret))
        except CaError as error:
            _log.critical("vault: not opened although %s came: %s", by, error)
            raise
        finally:
            wipe(secret)
            self._turn()
        try:
            await self._journal.append(Kind.ACTIVATE, issuance_id=by)
        except HaltIssuance:
            await self._lock.close(self.locked_message)  # nobody shall sign who was opened without a record
            raise
        _log.warning("vault: activated by %s", by)

    @asynccontextmanager
    async def _refusals_recorded(self, purpose: bytes, holder_id: str) -> AsyncIterator[None]:
        """BR 5.4.1 (3): unsuccessful attempts, too.  Only root, or our own user, gets here."""
        try:
            yield
        except Refused as refused:
            who = f"{purpose.decode()} by {holder_id[:_ID] or 'nobody'}: {refused.code}"
            await self._journal.append(Kind.REFUSED, issuance_id=who)
            raise

    def _agreed(
        self, gathering: Gathering, purpose: bytes, request: ConsentRequest, state: ActivationState
    ) -> bool:
        """Whether enough people agree, with this one."""
        sealed, holder, index = self._holder(request.holder_id)
        verify(holder, purpose, consent.consent_octets(purpose, state), request.signature)
        gathering.come(holder, index, bytearray())
        return len(gathering.people) >= sealed.threshold

    def _holder(self, id: str) -> tuple[SealedActivation, Person, int]:
        if self._sealed is None:
            raise Refused("activation.file", "the PIN of this vault lies in a file: it needs no activation")
        for index, holder in enumerate(self._sealed.holders, 1):
            if holder.id == id:
                return self._sealed, holder, index
        if not id:
            raise Refused(
                "activation.holder",
                f"{self._sealed.threshold} of {len(self._sealed.holders)} people must agree, each with "
                "--identity FILE",
            )
        raise Refused(
            "activation.holder",
            f"{id} holds no share of this token: its holders are "
            + ", ".join(f"{each.name} ({each.id})" for each in self._sealed.holders),
        )

    def _turn(self) -> None:
        """Opened or closed, or tried to: whatever was said before does not count any more."""
        for gathering in (self._activating, self._deactivating, self._resuming):
            gathering.forget()
        self._session = self._new_session()
        try:
            self._since = self._clock.now()
        except HaltIssuance:  # the clock stepped back: the time before stands
            _log.debug("vault: the time of the turn is not known")

    def _new_session(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._randomness.octets(_SESSION_KEY))

    def _forget_in_time(self, gathering: Gathering) -> None:
        asyncio.get_running_loop().call_later(PATIENCE + 1, gathering.forget_late)


def _names(gathering: Gathering) -> tuple[str, ...]:
    return tuple(person.name for person in gathering.people)


def _who(gathering: Gathering) -> str:
    return ", ".join(f"{person.name} ({person.id})" for person in gathering.people)
