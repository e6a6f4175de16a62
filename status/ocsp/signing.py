"""Has OCSP answers signed by the vault, one or many, and makes sure that they say what was asked.

Must never: keep an answer that outlives its responder's certificate, or says anything else.

RFC 6960 section 4.2; BR 4.9.10; Mozilla Root Store Policy 6 (nextUpdate within the responder's life).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from core import der, gaps
from core.answerable import Standing
from core.clock import Clock
from core.database import Reader
from core.errors import CaError, Refused, TransientError
from signer.api import Description, OcspList, OcspRequest, Signed
from signer.ocsp_batch import OcspOutcome
from status.ocsp.index.files import Kept
from status.ocsp.index.records import Frame, NotAnAnswer, responder_until, taken_apart
from status.ocsp.issuers import certid_hashes

_log = logging.getLogger(__name__)

Wanted = tuple[Standing, str]
"""What is to be said, and by which hash its CertID is made."""


class StatusSigner(Protocol):
    """What is needed of the vault (`signer.client.Vault` has it)."""

    async def describe(self) -> Description: ...

    async def sign_ocsp(self, request: OcspRequest) -> Signed: ...

    async def sign_ocsp_list(self, request: OcspList) -> Signed: ...

    async def sign_ocsp_batch(self, requests: Sequence[OcspRequest]) -> tuple[OcspOutcome, ...]: ...


class NoResponder(TransientError):
    """The vault has no responder for this issuer that is valid now."""


class NotReconciled(TransientError):
    """The register was restored, and is believed only when it says revoked (core/gaps.py)."""


class AnswerSigner:
    """Answers valid for `validity` seconds, never past their responder's certificate."""

    def __init__(self, reader: Reader, vault: StatusSigner, clock: Clock, validity: int) -> None:
        self._reader = reader
        self._vault = vault
        self._clock = clock
        self._validity = validity
        self._responders: dict[str, int] = {}  # issuer id -> notAfter of its responder certificate
        self._frames: dict[tuple[str, str], Frame] = {}
        self._ends: dict[Frame, int] = {}

    async def one(self, wanted: Wanted) -> Kept:
        """The answer to one.  Raises `Refused`, `TransientError`, `HaltIssuance`."""
        request = await self._request(wanted)
        try:
            signed = await self._vault.sign_ocsp(request)
            return self._taken(signed.der, request, wanted)
        except Refused:
            self._responders.clear()  # the responder certificate may have been renewed: ask again next time
            raise

    async def many(self, wanted: Sequence[Wanted]) -> list[Kept | None]:
        """Answers in that order; None for what was refused: a line of the log has their number and the first.

        Raises as `one`.
        """
        requests: dict[Wanted, OcspRequest] = {}
        refusals: list[tuple[bytes, CaError]] = []
        for each in wanted:
            try:
                requests[each] = await self._request(each)
            except NoResponder as error:
                refusals.append((each[0].serial, error))
            except NotReconciled as error:
                _log.debug("no OCSP answer about %s: %s", each[0].serial.hex(), error)
        outcomes = await self._vault.sign_ocsp_batch(tuple(requests.values())) if requests else ()
        taken: dict[Wanted, Kept] = {}
        for (each, request), outcome in zip(requests.items(), outcomes, strict=True):
            try:
                if outcome.refused:
                    raise Refused("status.ocsp-refused", outcome.refused)
                taken[each] = self._taken(outcome.der, request, each)
            except Refused as refused:
                refusals.append((request.serial, refused))
                self._responders.clear()
        if refusals:
            serial, why = refusals[0]
            _log.error("%d OCSP answers refused, the first about %s: %s", len(refusals), serial.hex(), why)
        return [taken.get(each) for each in wanted]

    async def until(self, issuer_id: str, now: int) -> int:
        """The nextUpdate that an answer of now gets.  Raises `NoResponder`, `TransientError`."""
        if self._responders.get(issuer_id, 0) < now + self._validity:
            description = await self._vault.describe()
            self._responders = {each.issuer_id: each.not_after for each in description.responders}
        until = self._responders.get(issuer_id, 0)
        if until <= now:
            raise NoResponder(f"the vault has no valid OCSP responder for {issuer_id}: see its log")
        return min(now + self._validity, until)

    async def _request(self, wanted: Wanted) -> OcspRequest:
        standing, hash_name = wanted
        if standing.revoked_at is None and gaps.closed(self._reader):
            raise NotReconciled("the register was restored and is not reconciled: nothing is called good")
        now = self._clock.latest()
        return OcspRequest(
            issuer_id=standing.issuer_id,
            serial=standing.serial,
            hash_name=hash_name,
            this_update=now,
            next_update=await self.until(standing.issuer_id, now),
            revoked_at=standing.revoked_at,
            reason=standing.reason or None,
        )

    def _taken(self, octets: bytes, request: OcspRequest, wanted: Wanted) -> Kept:
        """Raises `Refused`."""
        place = request.issuer_id, request.hash_name
        try:
            frame, record = taken_apart(octets, request, wanted[0].version, self._frames.get(place))
        except NotAnAnswer as error:
            raise Refused("status.ocsp-mismatch", str(error)) from error
        if frame not in self._ends:
            self._must_be_ours(frame)
            self._ends[frame] = responder_until(frame)
            self._frames[place] = frame
        if self._ends[frame] < request.next_update:
            raise Refused(
                "status.ocsp-outlives", "the answer would outlive its responder certificate: renew that"
            )
        return frame, record

    def _must_be_ours(self, frame: Frame) -> None:
        """The CertID names this issuer.  Raises `Refused`."""
        row = self._reader.one("SELECT certificate FROM issuers WHERE id = ?", (frame.issuer_id,))
        _, name_hash, key_hash = der.elements(frame.certificate_id)
        found = (frame.hash_name, name_hash.content, key_hash.content)
        if row is None or found not in certid_hashes(row["certificate"]):
            raise Refused("status.ocsp-mismatch", f"the vault's answer is not about {frame.issuer_id}")
