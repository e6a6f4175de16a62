"""What the vault does when it is asked for a status: judge, build, lint, sign.

Must never: say "good" of a serial number that its journal does not know, or sign a CRL whose number does not
rise.

RFC 5280 section 5; RFC 6960 section 4.2; BR 4.9, 7.2, 7.3; docs/revocation.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.clock import Clock
from core.errors import Refused
from core.refusal import wrong
from core.settings import Rules, Settings
from signer import api
from signer.api import KeyUse
from signer.ocsp_batch import OcspBatch, OcspOutcome, OcspOutcomes
from signer.vault.judgement import dated
from signer.vault.lint.crl_check import Wanted
from signer.vault.lint.pool import Kind
from signer.vault.lint.sample import Sampler
from signer.vault.record.journal import Journal
from signer.vault.sealed import lifetimes
from signer.vault.signing import IssuingKey, Signer, issuing_key
from signer.vault.status.held import HeldBlocks
from signer.vault.status.lint import StatusLint
from signer.vault.status.responders import Responder, Responders
from signer.vault.templates import crl, ocsp

_CLOCK_TOLERANCE = 5
"""Seconds by which a status may be from the future: two processes read one clock at different moments."""


MAX_BATCH = 1_000
"""Statuses in one call: a second of an HSM, and a caller cannot fill the memory."""

_TURN = 16
"""Statuses judged before others have their turn: half a millisecond."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A ResponseData that may be signed, and by whom."""

    responder: Responder
    data: bytes


class StatusService:
    """The methods of signer/api.py about status."""

    def __init__(
        self,
        settings: Settings,
        issuers: Mapping[str, IssuingKey],
        signer: Signer,
        responders: Responders,
        journal: Journal,
        lint: StatusLint,
        sampler: Sampler,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._issuers = issuers
        self._signer = signer
        self._responders = responders
        self._journal = journal
        self._lint = lint
        self._sampler = sampler
        self._clock = clock
        self._held = HeldBlocks()
        for issuer_id in issuers:
            _must_not_have_fallen(issuer_id, settings.status.shards_of(issuer_id), journal)

    async def sign_ocsp(self, request: api.OcspRequest) -> api.Signed:
        """A status, signed by the issuer's responder."""
        return await self.sign_ocsp_list(api.OcspList((request,)))

    async def sign_ocsp_list(self, request: api.OcspList) -> api.Signed:
        """Several statuses of one issuer in one answer, each judged as if it were alone."""
        now = self._clock.latest()
        self._signer.must_be_open()
        draft = await self._judged(request.statuses, now)
        return api.Signed(self._finished(draft, await self._signer.plain(draft.responder.key, draft.data)))

    async def sign_ocsp_batch(self, batch: OcspBatch) -> OcspOutcomes:
        """Many answers of one status each, judged, linted and verified as one alone; one refused spoils none.

        Raises as `sign_ocsp` for what none of them is to blame for.
        """
        if len(batch.requests) > MAX_BATCH:
            raise Refused("ocsp.batch", f"{MAX_BATCH} statuses at most in one call: ask again for the rest")
        now = self._clock.latest()
        self._signer.must_be_open()
        outcomes = [OcspOutcome(b"")] * len(batch.requests)
        drafts: dict[bytes, list[tuple[int, _Draft]]] = {}  # by the responder's certificate
        for number, request in enumerate(batch.requests):
            try:
                draft = await self._judged((request,), now)
                drafts.setdefault(draft.responder.certificate, []).append((number, draft))
            except Refused as refused:
                outcomes[number] = OcspOutcome(b"", str(refused))
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)  # certificates are being issued meanwhile
        for listed in drafts.values():
            key = listed[0][1].responder.key
            signatures = await self._signer.plain_all(key, [draft.data for _, draft in listed])
            for (number, draft), signature in zip(listed, signatures, strict=True):
                outcomes[number] = OcspOutcome(self._finished(draft, signature))
        return OcspOutcomes(tuple(outcomes))

    async def hold_crl_blocks(self, request: api.CrlBlocks) -> api.Nothing:
        """Entries, judged and held for the next CRLs of their scope."""
        by = issuing_key(self._issuers, request.issuer_id, KeyUse.ISSUING, KeyUse.LOCAL_SERVICE)
        self._must_have(by, request.shard)
        self._held.hold(request.issuer_id, request.shard, request.blocks)
        return api.Nothing()

    async def sign_crl(self, request: api.CrlRequest) -> api.SignedCrl:
        """A CRL of blocks that are held; its number rises."""
        now = self._clock.latest()
        self._signer.must_be_open()
        by = issuing_key(self._issuers, request.issuer_id, KeyUse.ISSUING, KeyUse.LOCAL_SERVICE)
        lifetimes.must_answer(by.issuer, by.life, now)
        _must_not_be_later(request.this_update, now)
        if self._settings.ca.rules is Rules.PUBLIC:
            dated.must_suit_crl(request, now)
        shards = self._must_have(by, request.shard)
        blocks = self._held.found(request.issuer_id, request.shard, request.blocks)
        specimens: dict[tuple[int, int, int], api.CrlEntry] = {}
        for block in blocks:
            if block.latest > request.this_update:
                raise Refused(
                    "crl.revoked-at", "a revocation lies after thisUpdate: the clock or the register is wrong"
                )
            for shape, entry in block.specimens:
                specimens.setdefault(shape, entry)
        # One full CRL carries no issuingDistributionPoint; a shard names itself in one (BR 7.2.2.1).
        url = by.issuer.crl_url(request.shard) if shards > 1 else None
        wanted = Wanted(
            by.issuer,
            request.number,
            request.this_update,
            request.next_update,
            tuple(specimens.values()),
            url,
        )
        specimen = await self._lint.crl(wanted, now)
        entries = [block.octets for block in blocks]
        before, after = crl.around(specimen, sum(map(len, entries)))
        signed = await self._signer.crl(by, request.shard, request.number, before, entries, after)
        self._held.keep_only(request.issuer_id, request.shard, request.blocks)
        self._sampler.offer(Kind.CRL, lambda: signed.whole(entries))
        return signed

    def _must_have(self, by: IssuingKey, shard: int) -> int:
        """How many shards this issuer has.  Raises `Refused` for one that it has not."""
        shards = self._settings.status.shards_of(by.issuer.id)
        if not 0 <= shard < shards:
            raise Refused("crl.shard", f"{by.issuer.id} has the shards 0 to {shards - 1}")
        return shards

    async def _judged(self, statuses: Sequence[api.OcspRequest], now: int) -> _Draft:
        """What may be signed about them, built and linted.  Raises `Refused`."""
        issuer_id = _sole_issuer(statuses)
        by = issuing_key(self._issuers, issuer_id, KeyUse.ISSUING)
        lifetimes.must_answer(by.issuer, by.life, now)
        for each in statuses:
            _must_not_be_later(each.this_update, now)
            if each.revoked_at is None and not self._journal.has_serial(each.serial):
                # BR 4.9.10: never "good" for a serial number that was not assigned, whatever a register says.
                raise Refused("ocsp.unassigned", f"the journal knows no serial number {each.serial.hex()}")
            if self._settings.ca.rules is Rules.PUBLIC:
                dated.must_suit_ocsp(each, now)
        responder = self._responders.current(issuer_id)
        return _Draft(responder, await self._lint.ocsp(by.issuer, responder, statuses, now))

    def _finished(self, draft: _Draft, signature: bytes) -> bytes:
        algorithm = draft.responder.algorithm.identifier
        signed = ocsp.assemble(draft.data, algorithm, signature, draft.responder.certificate)
        self._sampler.offer(Kind.OCSP, signed)
        return signed


def _sole_issuer(statuses: Sequence[api.OcspRequest]) -> str:
    found = {each.issuer_id for each in statuses}
    if len(found) != 1:
        raise Refused("ocsp.issuer", "an answer is about one issuer's certificates: one responder signs it")
    return found.pop()


def _must_not_have_fallen(issuer_id: str, shards: int, journal: Journal) -> None:
    """Certificates name the CRLs that there were: whatever the register says, each goes on (BR 4.9.7).

    Raises `ConfigurationError`.
    """
    known = journal.crl_shards(issuer_id)
    if shards < known:
        raise wrong(
            "status.crl_shards",
            shards,
            f"{known} CRL shards of {issuer_id} were signed and certificates name them: their number may "
            "rise but never fall",
        )


def _must_not_be_later(this_update: int, now: int) -> None:
    if this_update > now + _CLOCK_TOLERANCE:
        raise Refused("status.this-update", "thisUpdate lies in the future: the caller's clock is wrong")
