"""cross-certificate and add-cross-certificate: two hierarchies joined, in either direction.

BR 7.1.2.2 (cross-certified subordinate CA); CPS 3.2.6; RFC 5280 section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import ConfigurationError, Refused
from core.settings import Rules
from signer.vault.ceremony.certificate_steps import policies, urls
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.room import BACKDATE, must_outlive
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.lint.pool import Kind
from signer.vault.sealed.seal import CrossCertificate as SealedCross
from signer.vault.templates import ca_certificates
from signer.vault.templates.ca_certificates import PrivateKey

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room

DAY = 86400


@dataclass(frozen=True, slots=True)
class CrossMade:
    """The certificate that our root signed for another CA's key, DER."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class CrossCertificate:
    """Our root certifies the key of another CA, as `certificate` (a file, PEM or DER) has it.

    What is made stands in the transcript; the other CA takes it from there.
    """

    certificate: str
    days: int = ca_certificates.ISSUING_LIFETIME // DAY

    KIND: ClassVar[str] = "cross-certificate"
    Done: ClassVar[type] = CrossMade

    def words(self, plan: Plan) -> str:
        return (
            f"a cross-certificate for the CA of {self.certificate} is built, linted and signed by our root "
            f"key, for {self.days} days"
        )

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(ROOT)
        plan.uncovered = f"the cross-certificate for {self.certificate}"

    async def perform(self, room: Room, attempt: Attempt) -> CrossMade:
        of = _certificate(room.base / self.certificate)
        not_before = room.clock.now() - BACKDATE

        def build(key: PrivateKey, serial: bytes) -> bytes:
            made = ca_certificates.cross(
                room.draft.root,
                key,
                of,
                serial,
                not_before,
                urls(room.settings),
                policies=policies(room.settings),
                client_auth=room.settings.ca.rules is Rules.PRIVATE,
                lifetime=self.days * DAY,
            )
            must_outlive(room.draft.root, made)
            return made

        return CrossMade(await room.root_signs(attempt, Kind.CROSS, build))

    def apply(self, draft: Draft, done: CrossMade) -> None:
        pass  # it is another CA's; the transcript keeps it


@dataclass(frozen=True, slots=True)
class CrossAdded:
    """A certificate for a key of ours, as it will be sealed."""

    cross: SealedCross


@dataclass(frozen=True, slots=True)
class AddCrossCertificate:
    """A certificate that another CA made for a key of ours: `subject` is "root" or an issuer's id.

    `certificate` and `issuer` (the other CA's own) are files, PEM or DER.
    """

    subject: str
    certificate: str
    issuer: str

    KIND: ClassVar[str] = "add-cross-certificate"
    Done: ClassVar[type] = CrossAdded

    def words(self, plan: Plan) -> str:
        return f"the cross-certificate {self.certificate} for our {self.subject!r} makes an alternate chain"

    def check(self, plan: Plan) -> None:
        plan.must_be_certified(self.subject)

    async def perform(self, room: Room, attempt: Attempt) -> CrossAdded:
        draft = room.draft
        ours = draft.root if self.subject == ROOT else draft.issuers[self.subject].certificate
        cross, issuer = (_certificate(room.base / file) for file in (self.certificate, self.issuer))
        own, made, above = (x509.load_der_x509_certificate(each) for each in (ours, cross, issuer))
        if made.subject != own.subject or made.public_key() != own.public_key():
            raise Refused(
                "ceremony.cross", f"{self.certificate} has another subject or key than our {self.subject!r}"
            )
        try:
            made.verify_directly_issued_by(above)
        except Exception as error:
            raise Refused(
                "ceremony.cross", f"{self.certificate} was not signed by the CA of {self.issuer}: {error}"
            ) from error
        return CrossAdded(SealedCross(self.subject, cross, issuer))

    def apply(self, draft: Draft, done: CrossAdded) -> None:
        draft.cross = (*draft.cross, done.cross)


def _certificate(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        load = (
            x509.load_pem_x509_certificate if content.startswith(b"-----") else x509.load_der_x509_certificate
        )
        return load(content).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is no certificate that can be read: {error}") from error
