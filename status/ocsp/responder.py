"""Answers "what is the status of this certificate now?" by OCSP.

The revocation row decides each answer: it is looked at for every request, and a signed answer from the cache
is sent only while it carries that row's version.  After a signature the row is looked at again, so that an
answer made from an older row is thrown away, whatever committed while the signer was busy
(docs/revocation.md).

Must never: decide a revocation, say "good" of a serial whose first signature is not recorded, or let an older
answer replace a newer one.

RFC 6960 sections 2.2, 2.3, 4.2; RFC 9919; BR 4.9.9, 4.9.10, 7.3.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography.x509 import ocsp

from core import certificates
from core.clock import Clock
from core.database import Reader
from core.errors import HaltIssuance, Refused, TransientError
from signer.api import Description, OcspList, OcspRequest, Signed
from status.ocsp.answer import INTERNAL_ERROR, MALFORMED, TRY_LATER, UNAUTHORIZED, Answer
from status.ocsp.issuers import IssuerIndex
from status.ocsp.kept import Kept, KeptAnswers
from status.ocsp.live import LiveSignatures
from status.ocsp.request import CertId, MalformedRequest, read
from status.ocsp.several import Several

CACHE_ENTRIES = 100_000
"""Signed answers kept in memory: about 100 MB at 471 octets of RSA-2048 answer and as much overhead."""

_ATTEMPTS = 3
"""Signatures tried for one request while its row keeps changing; a row changes twice in its life at most."""

_log = logging.getLogger(__name__)


class StatusSigner(Protocol):
    """What the responder needs of the vault (`signer.client.Vault` has it)."""

    async def describe(self) -> Description: ...

    async def sign_ocsp(self, request: OcspRequest) -> Signed: ...

    async def sign_ocsp_list(self, request: OcspList) -> Signed: ...


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the register says of a serial.  `version` is the revocation row's, 0 while there is none."""

    version: int
    revoked_at: int | None
    reason: int | None


@dataclass(frozen=True, slots=True)
class _Cached:
    version: int
    answer: Answer
    this_update: int
    next_update: int


_Key = tuple[str, bytes, str]  # issuer id, serial, hash name


class AnswerCache:
    """Signed answers, least recently used out first; an older one never replaces a newer one."""

    def __init__(self, capacity: int = CACHE_ENTRIES, kept: KeptAnswers | None = None) -> None:
        """`kept` holds what the memory of this process does not."""
        self._capacity = capacity
        self._kept = kept
        self._answers: OrderedDict[_Key, _Cached] = OrderedDict()

    def get(self, key: _Key) -> _Cached | None:
        """The answer held for `key`, or None."""
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        elif self._kept is not None and (kept := self._kept.get(key)) is not None:
            answer = Answer(kept.der, kept.this_update, kept.next_update, kept.etag)
            found = _Cached(kept.version, answer, kept.this_update, kept.next_update)
            self._hold(key, found)
        return found

    def put(self, key: _Key, made: _Cached) -> bool:
        """Hold `made`, unless what we hold comes from a newer row, or later from the same; True when held."""
        held = self._answers.get(key)
        if held is not None and (held.version, held.this_update) > (made.version, made.this_update):
            return False
        self._hold(key, made)
        if self._kept is not None:
            answer = made.answer
            self._kept.put(
                key, Kept(made.version, made.this_update, made.next_update, answer.der, answer.etag)
            )
        return True

    def __len__(self) -> int:
        return len(self._answers)

    def _hold(self, key: _Key, made: _Cached) -> None:
        self._answers[key] = made
        self._answers.move_to_end(key)
        while len(self._answers) > self._capacity:
            self._answers.popitem(last=False)


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
        cache: AnswerCache | None = None,
        certificates: int = 5,
        live: LiveSignatures | None = None,
    ) -> None:
        """One request may ask about `certificates` at most; `live` bounds what strangers have signed."""
        self._reader = reader
        self._signer = signer
        self._clock = clock
        self._validity = validity
        self._refresh = refresh
        self._cache = AnswerCache() if cache is None else cache
        self._issuers = IssuerIndex(reader, clock)
        self._responders: dict[str, int] = {}  # issuer id -> notAfter of its responder certificate
        self._signing: dict[_Key, asyncio.Task[Answer]] = {}
        self._live = live
        self._several = Several(
            signer,
            clock,
            most=certificates,
            validity=validity,
            find=self._issuers.find,
            look=self._look,
            until=self._responder_until,
        )

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
            return await (self._answer(asked[0], asker) if len(asked) == 1 else self._list(asked, asker))
        except (TransientError, Refused, HaltIssuance) as error:
            _log.warning("no OCSP signature for %s: %s", asked[0].serial.hex(), error)
            return TRY_LATER
        except Exception:
            _log.exception("OCSP for %s failed", asked[0].serial.hex())
            return INTERNAL_ERROR

    def at_hand(self, asked: CertId) -> Answer | None:
        """What can be said at once, without a signature; None when `answer` has to be waited for.

        It is as true as what `answer` says: the register is looked at for it.
        """
        issuer_id = self._issuers.find(asked)
        standing = None if issuer_id is None else self._look(issuer_id, asked.serial)
        if issuer_id is None or standing is None:
            return UNAUTHORIZED
        held = self._current((issuer_id, asked.serial, asked.hash_name), standing)
        if held is None or self._clock.now() >= held.this_update + self._refresh:
            return None
        return held.answer

    def _current(self, key: _Key, standing: _Standing) -> _Cached | None:
        """The answer held that is made from the row as it stands, and not over."""
        held = self._cache.get(key)
        if held is None or held.version != standing.version or self._clock.now() >= held.next_update:
            return None
        return held

    async def _list(self, asked: Sequence[CertId], asker: str | None) -> Answer:
        issuer_id = self._several.issuer_of(asked)
        if issuer_id is None or any(self._look(issuer_id, each.serial) is None for each in asked):
            return UNAUTHORIZED
        if self._live is not None:
            await self._live.take(asker)
        return await self._several.answer(issuer_id, asked)

    async def _answer(self, asked: CertId, asker: str | None) -> Answer:
        ready = self.at_hand(asked)
        if ready is not None:
            return ready
        issuer_id = self._issuers.find(asked)
        standing = None if issuer_id is None else self._look(issuer_id, asked.serial)
        if issuer_id is None or standing is None:
            return UNAUTHORIZED
        key = (issuer_id, asked.serial, asked.hash_name)
        held = self._current(key, standing)
        try:
            return await self._signed(key, asker)
        except (TransientError, Refused, HaltIssuance) as error:
            # Without the vault an answer that is still true and still valid is the best there is.
            if held is None or self._look(issuer_id, asked.serial) != standing:
                raise
            _log.warning("OCSP answer for %s not renewed: %s", asked.serial.hex(), error)
            return held.answer

    def _look(self, issuer_id: str, serial: bytes) -> _Standing | None:
        """The register's word, or None when we say nothing of this serial.

        A serial only drawn, or drawn and given up, is not assigned: "good" would be a lie (BR 4.9.10).
        """
        status = certificates.status_of(self._reader, serial)
        if status is None or status.issuer_id != issuer_id:
            return None
        row = status.revocation
        return _Standing(0, None, None) if row is None else _Standing(row.version, row.revoked_at, row.reason)

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
        issuer_id, serial, _ = key
        for _ in range(_ATTEMPTS):
            standing = self._look(issuer_id, serial)
            if standing is None:
                return UNAUTHORIZED
            made = await self._sign(key, standing)
            if self._look(issuer_id, serial) == standing:
                self._cache.put(key, made)
                return made.answer
        raise TransientError("the revocation row keeps changing")

    async def _sign(self, key: _Key, standing: _Standing) -> _Cached:
        issuer_id, serial, hash_name = key
        now = self._clock.now()
        request = OcspRequest(
            issuer_id=issuer_id,
            serial=serial,
            hash_name=hash_name,
            this_update=now,
            next_update=min(now + self._validity, await self._responder_until(issuer_id, now)),
            revoked_at=standing.revoked_at,
            reason=standing.reason or None,
        )
        try:
            signed = await self._signer.sign_ocsp(request)
            check(signed.der, request)
        except Refused:
            self._responders.clear()  # the responder certificate may have been renewed: ask again next time
            raise
        etag = hashlib.sha256(signed.der).hexdigest()
        answer = Answer(signed.der, request.this_update, request.next_update, etag)
        return _Cached(standing.version, answer, request.this_update, request.next_update)

    async def _responder_until(self, issuer_id: str, now: int) -> int:
        """notAfter of the issuer's responder certificate, asked anew when an answer would outlive it."""
        if self._responders.get(issuer_id, 0) < now + self._validity:
            description = await self._signer.describe()
            self._responders = {each.issuer_id: each.not_after for each in description.responders}
        until = self._responders.get(issuer_id, 0)
        if until <= now:
            raise TransientError(f"the vault has no valid OCSP responder for {issuer_id}: see its log")
        return until


def check(der: bytes, request: OcspRequest) -> None:
    """Check that a signed answer says what was asked for, before anybody sees it.

    BR 4.9.10 and Mozilla 6: an answer must not outlive the responder certificate in it.

    Raises: `Refused`.
    """
    response = ocsp.load_der_ocsp_response(der)
    said = (
        response.serial_number,
        response.certificate_status,
        _seconds(response.revocation_time_utc),
        int(response.this_update_utc.timestamp()),
        _seconds(response.next_update_utc),
    )
    revoked = request.revoked_at is not None
    wanted = (
        int.from_bytes(request.serial, "big", signed=True),
        ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
        request.revoked_at,
        request.this_update,
        request.next_update,
    )
    if said != wanted:
        raise Refused("status.ocsp-mismatch", f"the vault signed {said} where {wanted} was asked for")
    if not response.certificates:
        raise Refused("status.ocsp-responder", "the answer lacks the responder certificate")
    until = int(response.certificates[0].not_valid_after_utc.timestamp())
    if until < request.next_update:
        raise Refused(
            "status.ocsp-outlives", "the answer would outlive its responder certificate: renew that"
        )


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
