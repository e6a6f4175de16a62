"""Answers "what is the status of this certificate now?" by OCSP.

Most answers lie in the index, signed ahead by the keeper.  The revocation row decides each of them: it is
looked at for every request, and an answer is sent only while it is made from that row.  What the index has
not yet, and what is overruled, is signed live; after the signature the row is looked at again, so that an
answer made from an older row is thrown away, whatever committed while the signer was busy
(docs/revocation.md).

Must never: decide a revocation, say "good" of a serial whose first signature is not recorded, or let an older
answer replace a newer one.

RFC 6960 sections 2.2, 2.3, 4.2; RFC 9919; BR 4.9.9, 4.9.10, 7.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

from core import answerable, der, gaps, revocations
from core.answerable import Standing
from core.clock import Clock
from core.database import Reader
from core.errors import HaltIssuance, Refused, TransientError
from status.ocsp.answer import INTERNAL_ERROR, MALFORMED, TRY_LATER, UNAUTHORIZED, Answer
from status.ocsp.index.files import Kept
from status.ocsp.index.index import Index, newer
from status.ocsp.index.records import SERIAL_OCTETS, TOLERANCE, answer
from status.ocsp.issuers import IssuerIndex
from status.ocsp.live import LiveSignatures
from status.ocsp.request import CertId, MalformedRequest, read
from status.ocsp.several import Several
from status.ocsp.signing import AnswerSigner, StatusSigner

FRESH_ANSWERS = 8192
"""Answers signed here that the index has not yet, kept in memory: 4 MB."""

_ATTEMPTS = 3
"""Signatures tried for one request while its row keeps changing; a row changes twice in its life at most."""

_PATIENCE = 30.0
"""Seconds in which nothing is tried again, after the vault did not renew an answer that is still valid."""

_QUIET = 10.0
"""Seconds between two lines of the log about what was not answered: strangers choose how many those are."""

_log = logging.getLogger(__name__)

_Key = tuple[str, bytes, str]  # issuer id, serial, hash name


class Responder:
    """The OCSP responder of all issuers.  `validity` and `refresh` are seconds (settings.status)."""

    def __init__(
        self,
        reader: Reader,
        signer: StatusSigner,
        clock: Clock,
        *,
        validity: int,
        refresh: int,
        index: Index | None = None,
        certificates: int = 5,
        live: LiveSignatures | None = None,
    ) -> None:
        """One request may ask about `certificates` at most; `live` bounds what strangers have signed.

        Without an `index` everything is signed live.
        """
        self._reader = reader
        self._signer = AnswerSigner(reader, signer, clock, validity)
        self._clock = clock
        self._late_after = refresh + min(refresh, validity - refresh) // 4
        """Seconds after which the keeper should have renewed an answer, and did not."""
        self._index = index
        self._issuers = IssuerIndex(reader, clock)
        self._fresh: OrderedDict[_Key, Kept] = OrderedDict()
        self._signing: dict[_Key, asyncio.Task[Answer]] = {}
        self._no_renewal_before = 0.0
        self._quiet_until = 0.0
        self._unsaid = 0
        self._live = live
        self.seen: object = None
        """The newest revocation and index that `look` saw; None when it, or `at_hand` since, could not."""
        self._several = Several(
            signer,
            clock,
            most=certificates,
            validity=validity,
            find=self._issuers.find,
            look=self._look,
            until=self._signer.until,
        )

    def look(self) -> None:
        """Look at the register and the index: while `seen` stays the same, what is at hand does, in a second.

        Never raises.
        """
        try:
            if self._index is not None:
                self._index.follow()
            changes = 0 if self._index is None else self._index.changes
            self.seen = answerable.newest_change(self._reader), changes
        except Exception as error:  # who needs the register meets it again, and says so
            _log.debug("the register is not seen: %s", error)
            self.seen = None

    def at_hand(self, asked: CertId) -> Answer | None:
        """What can be said at once, without a signature; None when `answer` has to be waited for.

        It is as true as what `answer` says: the register is looked at for it.  While the register cannot be
        read, what was published and is still valid goes on being said.
        """
        try:
            issuer_id = self._issuer_of(asked)
        except TransientError:
            return None
        if issuer_id is None:
            return UNAUTHORIZED
        now = self._clock.latest()
        held = self._held((issuer_id, asked.serial, asked.hash_name), now)
        try:
            if held is None:
                return UNAUTHORIZED if self._look(issuer_id, asked.serial) is None else None
            version = answerable.revocation(self._reader, asked.serial)
        except TransientError:
            version, self.seen = 0, None
        if held is None or held[1].version < version or self._is_late(held, now):
            return None
        return answer(*held)

    async def answer(self, der: bytes, asker: str | None = None) -> Answer:
        """The answer to a DER OCSPRequest: signed, or one of the unsigned errors.  Never raises.

        `asker` is the block of addresses that the signature counts for, when one is needed.
        """
        try:
            asked = read(der)
        except MalformedRequest as error:
            _log.debug("malformed OCSP request: %s", error)
            return MALFORMED
        try:
            if len(asked) > 1:
                return await self._list(asked, asker)
            return self.at_hand(asked[0]) or await self._answer(asked[0], asker)
        except (TransientError, Refused, HaltIssuance) as error:
            self._complain(asked[0], error)
            return TRY_LATER
        except Exception as error:
            self._complain(asked[0], error, fault=True)
            return INTERNAL_ERROR

    def _complain(self, asked: CertId, error: Exception, *, fault: bool = False) -> None:
        """Say why there is no answer, and only count those that come soon after."""
        at = self._clock.monotonic()
        if at < self._quiet_until:
            self._unsaid += 1
            return
        _log.log(
            logging.ERROR if fault else logging.WARNING,
            "no OCSP answer for %s: %s (%d more since the last line)",
            asked.serial[:SERIAL_OCTETS].hex(),
            error,
            self._unsaid,
            exc_info=error if fault else None,
        )
        self._quiet_until, self._unsaid = at + _QUIET, 0

    async def _list(self, asked: Sequence[CertId], asker: str | None) -> Answer:
        issuer_id = self._several.issuer_of(asked)
        if issuer_id is None or any(self._look(issuer_id, each.serial) is None for each in asked):
            return UNAUTHORIZED
        if self._live is not None:
            await self._live.take(asker)
        return await self._several.answer(issuer_id, asked)

    async def _answer(self, asked: CertId, asker: str | None) -> Answer:
        issuer_id = self._issuer_of(asked)
        if issuer_id is None:
            return UNAUTHORIZED
        key = (issuer_id, asked.serial, asked.hash_name)
        try:
            return await self._signed(key, asker)
        except (TransientError, Refused, HaltIssuance) as error:
            # Without the vault an answer that is still true and still valid is the best there is.
            held = self._held(key, self._clock.latest())
            if held is None or answerable.revocation(self._reader, asked.serial) > held[1].version:
                raise
            self._no_renewal_before = self._clock.monotonic() + _PATIENCE
            _log.warning("OCSP answer for %s not renewed: %s", asked.serial.hex(), error)
            return answer(*held)

    def _issuer_of(self, asked: CertId) -> str | None:
        """The issuer that is meant; its answers say it, too, when the register cannot be read."""
        try:
            return self._issuers.find(asked)
        except TransientError:
            held = None if self._index is None else self._index.find(asked.serial, asked.hash_name)
            hashes = der.octet_string(asked.name_hash) + der.octet_string(asked.key_hash)
            if held is None or not held[0].certificate_id.endswith(hashes):
                raise
            return held[0].issuer_id

    def _published(self, key: _Key) -> Kept | None:
        return None if self._index is None else self._index.find(key[1], key[2])

    def _held(self, key: _Key, now: int) -> Kept | None:
        """The newest answer that is not over, from the index or signed here."""
        held = newer(self._published(key), self._fresh.get(key), now + TOLERANCE)
        if held is None or held[0].issuer_id != key[0] or now >= held[1].next_update:
            return None
        return held

    def _is_late(self, held: Kept, now: int) -> bool:
        return (
            now >= held[1].this_update + self._late_after
            and self._clock.monotonic() >= self._no_renewal_before
        )

    def _look(self, issuer_id: str, serial: bytes) -> Standing | None:
        """The register's word, or None when we say nothing of this serial.

        A serial only drawn, or drawn and given up, is not assigned: "good" would be a lie (BR 4.9.10).
        Raises `TransientError` when it cannot be read; or when it was restored and something is missing yet:
        then it is believed when it says revoked, and nothing else (core/gaps.py).
        """
        status = revocations.status_of(self._reader, serial)
        if (status is None or status.revocation is None) and gaps.closed(self._reader):
            raise TransientError("the register was restored, and is not reconciled yet")
        if status is None or status.issuer_id != issuer_id:
            return None
        row = status.revocation
        if row is None:
            return Standing(serial, issuer_id, 0, None, None)
        return Standing(serial, issuer_id, row.version, row.revoked_at, row.reason)

    async def _signed(self, key: _Key, asker: str | None) -> Answer:
        """One signature for all who ask for `key` meanwhile; a client that leaves cancels nobody else's."""
        task = self._signing.get(key)
        if task is None:
            if self._live is not None:
                await self._live.take(asker)
            task = asyncio.get_running_loop().create_task(self._sign_current(key))
            self._signing[key] = task
            task.add_done_callback(lambda _: self._signing.pop(key, None))
        return await asyncio.shield(task)

    async def _sign_current(self, key: _Key) -> Answer:
        issuer_id, serial, hash_name = key
        for _ in range(_ATTEMPTS):
            standing = self._look(issuer_id, serial)
            if standing is None:
                return UNAUTHORIZED
            published = self._published(key)
            if published is not None and published[1].version > standing.version:
                raise TransientError(
                    f"the register is older than what was published about {serial.hex()}: reconcile it"
                )
            made = await self._signer.one((standing, hash_name))
            if self._look(issuer_id, serial) == standing:
                self._fresh[key] = made
                self._fresh.move_to_end(key)
                if len(self._fresh) > FRESH_ANSWERS:
                    self._fresh.popitem(last=False)
                return answer(*made)
        raise TransientError("the revocation row keeps changing")
