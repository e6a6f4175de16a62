"""responder-certificate: a delegated OCSP responder by hand, where the vault may not make its own.

The vault's journal, not the transcript, is the record of what an issuing key signed: so the step writes the
same entries there as the vault does, and the vault finds the newest responder in it when it starts.

BR 4.9.9, 7.1.2.8; RFC 6960 section 4.2.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509

from core.errors import ConfigurationError
from signer import serials
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.room import BACKDATE, must_be_as_linted, must_outlive, must_verify
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.ceremony.transcript import Intent
from signer.vault.lint.pool import Kind
from signer.vault.record.journal import Journal
from signer.vault.record.journal import Kind as Entry
from signer.vault.status import responder_check, responders
from signer.vault.templates import ca_certificates, leaf
from signer.vault.tokens import adapter, algorithms

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room

DAY = 86400


@dataclass(frozen=True, slots=True)
class ResponderMade:
    """The responder's certificate, DER; the journal has it as well."""

    issuer: str
    certificate: bytes


@dataclass(frozen=True, slots=True)
class ResponderCertificate:
    """An issuing CA certifies its OCSP responder, for at most 30 days."""

    issuer: str
    days: int = ca_certificates.MAX_RESPONDER_LIFETIME // DAY

    KIND: ClassVar[str] = "responder-certificate"
    Done: ClassVar[type] = ResponderMade

    def words(self, plan: Plan) -> str:
        return f"an OCSP responder of {self.issuer!r} is certified by it, for {self.days} days"

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(self.issuer)
        if self.issuer == ROOT:
            raise ConfigurationError("the root's status is told by its CRL: name an issuing CA")
        if not 0 < self.days * DAY <= ca_certificates.MAX_RESPONDER_LIFETIME:
            raise ConfigurationError("a responder lives at most 30 days, as nothing can revoke it")

    async def perform(self, room: Room, attempt: Attempt) -> ResponderMade:
        issuer = room.draft.issuers[self.issuer]
        session, issuing = room.key(issuer.label)
        key = responders.responder_key(session, self.issuer)
        serial = serials.draw(room.randomness)
        not_before, lifetime = room.clock.now() - BACKDATE, self.days * DAY
        subject = responders.subject(room.settings, self.issuer)
        made = ca_certificates.ocsp_responder(
            issuer.certificate,
            adapter.unsigned(issuing.public_key),
            key.public_key,
            subject,
            serial,
            not_before,
            lifetime=lifetime,
        )
        responder_check.check(made, issuer.certificate, subject, key.spki, serial, not_before, lifetime)
        must_outlive(issuer.certificate, made)
        lint = await room.lint.lint(made, Kind.OCSP_RESPONDER, at=room.clock.now())
        tbs = x509.load_der_x509_certificate(made).tbs_certificate_bytes
        attempt.intend(Intent(by=issuer.label, serial=serial, tbs=tbs, lint=lint))
        name = f"ocsp-responder:{self.issuer}:{serial.hex()}"
        journal = Journal(room.data.journal, room.clock)
        try:
            await journal.append(
                Entry.RESPONDER_INTENT,
                issuance_id=name,
                issuer_id=self.issuer,
                serial=serial,
                tbs=tbs,
                lint=lint,
            )
            signature = session.sign(issuing, tbs)
            attempt.reached("signed")
            identifier = algorithms.for_key(issuing.public_key).identifier
            certificate = leaf.assemble(tbs, identifier, signature)
            must_be_as_linted(certificate, tbs)
            must_verify(issuing, signature, tbs)
            await journal.append(
                Entry.RESPONDER,
                issuance_id=name,
                issuer_id=self.issuer,
                serial=serial,
                certificate=certificate,
                lint=lint,
            )
        finally:
            journal.close()
        return ResponderMade(self.issuer, certificate)

    def apply(self, draft: Draft, done: ResponderMade) -> None:
        pass  # the vault finds it in its journal
