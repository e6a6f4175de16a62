"""What the vault does when it is asked: judge, build, lint, keep; sign what was kept.

The vault trusts no caller.  `prepare` judges a leaf by all that the vault itself knows (its own settings,
the sealed hierarchy, its journal, the evidence's signatures, the clock) and keeps what it built under a token
that works once; `issue` signs nothing but what such a token stands for.

Must never: sign octets that a caller sent.

RFC 5280 section 4; BR 4.3.1, 6.1.7, 6.3.2, 7; docs/issuance.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice

from core import der, requirements
from core.clock import Clock
from core.errors import HaltIssuance, Refused, TransientError
from core.randomness import Randomness, token
from core.settings import CtMode, Rules, Settings
from core.timekeeping import without_time
from signer import api, steps
from signer.api import KeyUse
from signer.vault.judgement import applicant, dated
from signer.vault.judgement.blocked import RefusedKeys
from signer.vault.judgement.evidence import Verifier
from signer.vault.judgement.transparency import Transparency
from signer.vault.lint.pool import Kind, LintPool
from signer.vault.lint.sample import Sampler
from signer.vault.people.activation import MAX_REASON
from signer.vault.record.journal import Journal
from signer.vault.record.journal import Kind as JournalKind
from signer.vault.sealed import description, lifetimes
from signer.vault.sealed.seal import Hierarchy
from signer.vault.signing import IssuingKey, Signer, issuing_key
from signer.vault.status.lint import StatusLint
from signer.vault.status.responders import Responders
from signer.vault.status.service import StatusService
from signer.vault.templates import leaf, precertificates, profiles

PREPARED_LIFETIME = 300
"""Seconds between `prepare` and `issue`, which follow each other at once: judgements do not grow old."""

MAX_PREPARED = 10_000
"""Prepared leaves at a time: 20 MB; far more than any batch, and a caller cannot fill the memory."""

MAX_PAGE = 5_000
"""Journal entries in one answer: 15 MB, a ninth of the largest frame."""

_LOCAL_BACKDATE = 3600
"""Seconds, for clients of our own directory whose clock is slow."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    issuer_id: str
    issuance_id: str
    serial: bytes
    tbs: bytes
    lint: api.LintRecord
    expires_at: int
    intent: JournalKind = JournalKind.INTENT
    result: JournalKind = JournalKind.RESULT
    follows: bool = False
    order: bytes = b""


class Service:
    """The methods of signer/api.py; `status` has those of CRLs and OCSP answers."""

    def __init__(
        self,
        settings: Settings,
        hierarchy: Hierarchy,
        issuers: Mapping[str, IssuingKey],
        refused_keys: RefusedKeys,
        signer: Signer,
        responders: Responders,
        journal: Journal,
        lint: LintPool,
        verifier: Verifier,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._settings = settings
        self._hierarchy = hierarchy
        self._infos = description.issuers(hierarchy, settings)
        self._issuers = issuers
        self._refused_keys = refused_keys
        self._signer = signer
        self._responders = responders
        self._journal = journal
        self._lint = lint
        self._verifier = verifier
        self._clock = clock
        self._randomness = randomness
        self._profiles = profiles.from_settings(settings)
        self._transparency = Transparency(settings, clock)
        self._prepared: dict[str, _Prepared] = {}
        self.sampler = Sampler(lint, settings.vault.lint_sample, randomness, self._was_wrong)
        self.status = StatusService(
            settings, issuers, signer, responders, journal, StatusLint(lint), self.sampler, clock
        )

    async def describe(self, _: api.Nothing) -> api.Description:
        """The vault's own account of itself."""
        return api.Description(
            rules=self._hierarchy.rules,
            root=self._hierarchy.root,
            issuers=self._infos,
            responders=tuple(
                api.ResponderInfo(id, responder.certificate, responder.not_after)
                for id, responder in self._responders.all()
            ),
            perspectives=tuple(perspective.code for perspective in self._hierarchy.perspectives),
            linter=", ".join(self._lint.linters),
            journal_sequence=self._journal.sequence,
            root_crl=self._hierarchy.root_crl,
            ct=self._settings.ct.mode is CtMode.ON,
            perspective_keys=tuple(each.public_key for each in self._hierarchy.perspectives),
        )

    async def prepare(self, request: api.LeafRequest) -> api.Prepared:
        """Judge, build and lint a leaf.  Raises `Refused`; nothing that lasts is changed."""
        now = self._now_of_issuance()
        self._must_not_be_halted()
        self._signer.must_be_open()
        by = issuing_key(self._issuers, request.issuer_id, KeyUse.ISSUING)
        profile = self._profiles.get(request.profile)
        if profile is None or request.profile == profiles.LOCAL_SERVICE:
            raise Refused(
                "profile.unknown", f"the vault knows no profile {request.profile!r} for subscribers"
            )
        lifetimes.must_issue(by.issuer, by.life, now)
        allowed = self._settings.profiles[request.profile].issuers
        if allowed and by.issuer.id not in allowed:
            raise Refused("profile.issuer", f"profiles.{request.profile}.issuers names only {allowed}")
        self._must_be_fresh(request)
        if not 0 <= request.crl_shard < self._settings.status.shards_of(by.issuer.id):
            raise Refused("profile.crl-shard", "no such CRL is ever made: the certificate would name none")
        # All that is dated must still hold when the certificate is signed at the latest: with CT that is when
        # it follows its precertificate; without, `expiry` is no later than the day before a new rule.
        until = now + PREPARED_LIFETIME + precertificates.FINAL_WITHIN if profile.ct else now
        longest = profile.validity
        if self._settings.ca.rules is Rules.PUBLIC:
            longest = requirements.limit(requirements.Limit.LEAF_VALIDITY, until)
            dated.must_suit_leaf(request, profile, now, until)
        self._verifier.verify(request, now, max(until, now + PREPARED_LIFETIME))
        order = applicant.order_of(request)
        self._signer.must_be_unanswered(order)
        kind = Kind.PRECERTIFICATE if profile.ct else Kind.LEAF
        tbs, lint = await self._build(request, by, profile, kind, now=now, longest=longest)
        await self._signer.must_work(by.key)
        expires_at = dated.expiry(now, PREPARED_LIFETIME)
        prepared = _Prepared(
            by.issuer.id, request.issuance_id, request.serial, tbs, lint, expires_at, order=order
        )
        if profile.ct:
            prepared = replace(
                prepared, intent=JournalKind.PRECERTIFICATE_INTENT, result=JournalKind.PRECERTIFICATE
            )
        answer = self._keep(prepared, now)
        steps.reached("4 prepare", request.issuance_id)
        return answer

    async def prepare_final(self, request: api.FinalRequest) -> api.Prepared:
        """(7) Build and lint the certificate of a precertificate.  Raises as `prepare`.

        The precertificate is the journal's own, so a restart between the two changes nothing.
        """
        now = self._now_of_issuance()
        self._must_not_be_halted()
        self._signer.must_be_open()
        signed = self._journal.precertificate(request.issuance_id)
        if signed is None:
            raise Refused(
                "precertificate.missing", f"no precertificate of issuance {request.issuance_id} was signed"
            )
        if self._journal.has_certificate_intent(request.issuance_id):
            raise Refused("issuance.used", f"issuance {request.issuance_id} was begun before: recall it")
        self._signer.must_be_unanswered(signed.order)
        by = issuing_key(self._issuers, signed.issuer_id, KeyUse.ISSUING)
        lifetimes.must_issue(by.issuer, by.life, now)
        precertificates.must_be_in_time(signed.at, now)
        self._transparency.must_suffice(signed.certificate, by.key.spki, request.scts, signed.at, now)
        tbs = precertificates.final_tbs(signed.certificate, request.scts)
        lint = await self._lint.lint(leaf.dummy_signed(tbs, by.issuer), Kind.LEAF, at=now)
        await self._signer.must_work(by.key)
        expires_at = min(dated.expiry(now, PREPARED_LIFETIME), signed.at + precertificates.FINAL_WITHIN)
        prepared = _Prepared(
            by.issuer.id,
            request.issuance_id,
            signed.serial,
            tbs,
            lint,
            expires_at,
            follows=True,
            order=signed.order,
        )
        answer = self._keep(prepared, now)
        steps.reached("7 prepare", request.issuance_id)
        return answer

    async def issue(self, request: api.IssueRequest) -> api.Issued:
        """Sign what `prepare` kept; the token is spent whatever happens.  Raises as `Signer.certificate`."""
        self._must_not_be_halted()
        # From taking the token to the intent's place in the journal nothing may be awaited: `recall` would
        # find neither the one nor the other, and its caller give up a serial number that is used after all.
        prepared = self._prepared.pop(request.token, None)
        now = self._now_of_issuance()
        if prepared is None or prepared.expires_at < now:
            raise Refused("token.unknown", "nothing is kept under this token (any more): prepare it again")
        # It may have been blocked or listed since, between precertificate and certificate too.
        self._refused_keys.must_not_be(_key_of(prepared.tbs))
        by = self._issuers[prepared.issuer_id]
        lifetimes.must_issue(by.issuer, by.life, now)
        signed = await self._signer.certificate(
            by,
            prepared.issuance_id,
            prepared.serial,
            prepared.tbs,
            prepared.lint,
            intent=prepared.intent,
            result=prepared.result,
            follows=prepared.follows,
            order=prepared.order,
        )
        first = prepared.result is JournalKind.PRECERTIFICATE
        self.sampler.offer(Kind.PRECERTIFICATE if first else Kind.LEAF, signed)
        return api.Issued(signed)

    async def recall(self, request: api.RecallRequest) -> api.Recalled:
        """What became of an issuance, for good.

        Whatever was prepared for it is dropped: after "no intent" the caller gives the serial number up, and
        a request to issue that is still on its way must not use it.  What is being signed at this moment is
        waited for: "no result" would have a sound certificate revoked.
        """
        for kept in [
            kept for kept, each in self._prepared.items() if each.issuance_id == request.issuance_id
        ]:
            del self._prepared[kept]
        await self._signer.ended(request.issuance_id)
        return self._journal.recall(request.issuance_id)

    async def local_service(self, request: api.LocalServiceRequest) -> api.Issued:
        """A TLS certificate for our own directory: the names and the validity are the vault's own."""
        now = self._now_of_issuance()
        self._signer.must_be_open()
        ours = [by for by in self._issuers.values() if by.use is KeyUse.LOCAL_SERVICE]
        # The last one sealed is the newest; another while its day has not come.
        by = next((by for by in reversed(ours) if lifetimes.may_issue(by.issuer, by.life, now)), ours[-1])
        lifetimes.must_issue(by.issuer, by.life, now)
        profile = self._profiles[profiles.LOCAL_SERVICE]
        not_before = now - _LOCAL_BACKDATE
        leaf_request = api.LeafRequest(
            issuance_id=f"local-service:{request.serial.hex()}",
            serial=request.serial,
            issuer_id=by.issuer.id,
            profile=profile.name,
            names=self._settings.acme.tls_names,
            account_url="",
            public_key=request.public_key,
            not_before=not_before,
            not_after=not_before + profile.validity - 1,
            crl_shard=0,
            evidence=(),
        )
        self._must_be_fresh(leaf_request)
        tbs, lint = await self._build(
            leaf_request, by, profile, Kind.LOCAL_SERVICE, now=now, longest=profile.validity
        )
        return api.Issued(
            await self._signer.certificate(by, leaf_request.issuance_id, leaf_request.serial, tbs, lint)
        )

    async def block_key(self, request: api.BlockKeyRequest) -> api.Nothing:
        """Refuse a key for ever (BR 6.1.1.3); durable before the reply."""
        await self._refused_keys.block(request.spki_sha256)
        return api.Nothing()

    async def journal(self, request: api.JournalRequest) -> api.Journal:
        """A page of the journal."""
        return api.Journal(self._journal.page(request.after, min(request.limit, MAX_PAGE)))

    async def _build(
        self,
        request: api.LeafRequest,
        by: IssuingKey,
        profile: profiles.LeafProfile,
        kind: Kind,
        *,
        now: int,
        longest: int,
    ) -> tuple[bytes, api.LintRecord]:
        self._refused_keys.must_not_be(request.public_key)
        profiles.admit(request, profile, by.issuer, now=now, longest=longest)
        tbs = leaf.build_tbs(by.issuer, profile, request)
        profiles.check(tbs, profile, request, by.issuer)
        return tbs, await self._lint.lint(leaf.dummy_signed(tbs, by.issuer), kind, at=now)

    async def _was_wrong(self, why: str) -> None:
        """Something signed should not have been: nothing more is issued until people have looked."""
        if self._journal.halt is None:
            await self._journal.append(JournalKind.HALT, issuance_id=f"the vault: {why}"[:MAX_REASON])

    def _now_of_issuance(self) -> int:
        """The time, if certificates may be dated by it.  OCSP and CRL go on: silence would harm more."""
        if why := without_time(self._settings, self._clock):
            raise HaltIssuance(why)
        return self._clock.now()

    def _must_not_be_halted(self) -> None:
        """Subscribers' certificates only: our directory, CRLs and OCSP must go on, or nothing is revoked."""
        halt = self._journal.halt
        if halt is not None:
            raise HaltIssuance(
                f"issuance was halted by {halt.issuance_id}; acme-server resume ends it, when all is well"
            )

    def _must_be_fresh(self, request: api.LeafRequest) -> None:
        """The serial and the issuance are new.  `Signer.certificate` asks again, when it takes them."""
        # A colon marks the vault's own names in the journal: CRLs, responders, local service.
        ours = request.profile == profiles.LOCAL_SERVICE
        if not request.issuance_id or (":" in request.issuance_id and not ours):
            raise Refused("issuance.name", "an issuance id is not empty and has no colon")
        if self._journal.has_intent(request.issuance_id):
            raise Refused("issuance.used", f"issuance {request.issuance_id} was begun before: recall it")
        if self._journal.has_serial(request.serial):
            raise Refused("serial.used", f"serial {request.serial.hex()} was used before: draw another")

    def _keep(self, prepared: _Prepared, now: int) -> api.Prepared:
        # Insertion order is the order of expiry: the old ones are at the front.
        while self._prepared:
            oldest = next(iter(self._prepared))
            if self._prepared[oldest].expires_at >= now:
                break
            del self._prepared[oldest]
        if len(self._prepared) >= MAX_PREPARED:
            raise TransientError("too many prepared certificates wait to be issued: try again later")
        kept = token(self._randomness)
        self._prepared[kept] = prepared
        return api.Prepared(
            kept,
            hashlib.sha256(prepared.tbs).digest(),
            prepared.lint,
            precertificate=prepared.result is JournalKind.PRECERTIFICATE,
        )


_SUBJECT_PUBLIC_KEY_INFO = 6
"""Its place among the fields of a TBSCertificate (RFC 5280 section 4.1)."""


def _key_of(tbs: bytes) -> bytes:
    fields = islice(der.elements(der.only(tbs, der.SEQUENCE).content), _SUBJECT_PUBLIC_KEY_INFO, None)
    return next(fields).encoding
