"""root-certificate, issuing-certificate and local-service-certificate: what the root key says of CA keys.

Each is built with a dummy key, linted, meant, and only then signed; what is signed is what was linted.

BR 7.1.2.1, 7.1.2.5, 7.1.2.6; CPS 6.1, 7.1; RFC 5280 section 4.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core.errors import ConfigurationError
from core.settings import Rules, Settings
from signer.api import KeyUse
from signer.vault.ceremony.draft import Draft
from signer.vault.ceremony.room import BACKDATE, must_outlive
from signer.vault.ceremony.step import ROOT, Attempt, Plan
from signer.vault.lint.pool import Kind
from signer.vault.sealed.seal import IssuerState, SealedIssuer, TokenRole
from signer.vault.templates import ca_certificates, profiles
from signer.vault.templates.ca_certificates import PrivateKey
from signer.vault.tokens import keys

if TYPE_CHECKING:
    from signer.vault.ceremony.room import Room

DAY = 86400


@dataclass(frozen=True, slots=True)
class RootMade:
    """The trust anchor, DER."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class RootCertificate:
    """The root key's certificate of itself."""

    common_name: str = "Root CA 1"
    days: int = ca_certificates.ROOT_LIFETIME // DAY

    KIND: ClassVar[str] = "root-certificate"
    Done: ClassVar[type] = RootMade

    def words(self, plan: Plan) -> str:
        return (
            f"the root certificate {self.common_name!r} is built, linted and signed by the root key, for "
            f"{self.days} days"
        )

    def check(self, plan: Plan) -> None:
        if plan.existing:
            raise ConfigurationError(
                "this data directory has its root already: another root needs another --data, and a "
                "cross-certificate joins the two"
            )
        plan.must_have_key(ROOT, TokenRole.ROOT)
        plan.certify(ROOT, "the root certificate")

    async def perform(self, room: Room, attempt: Attempt) -> RootMade:
        not_before = room.clock.now() - BACKDATE

        def build(key: PrivateKey, serial: bytes) -> bytes:
            return ca_certificates.root(
                key, room.subject(self.common_name), serial, not_before, lifetime=self.days * DAY
            )

        return RootMade(await room.root_signs(attempt, Kind.ROOT, build))

    def apply(self, draft: Draft, done: RootMade) -> None:
        draft.root = done.certificate


@dataclass(frozen=True, slots=True)
class IssuerMade:
    """A CA below the root, as it will be sealed."""

    issuer: SealedIssuer


@dataclass(frozen=True, slots=True)
class IssuingCertificate:
    """A CA for subscriber certificates.  `key` is the label of its key, the `id` when left out.

    `state` "planned" publishes it without use; `since` and `until` are dates (UTC), both included.
    """

    id: str
    common_name: str
    key: str = ""
    days: int = ca_certificates.ISSUING_LIFETIME // DAY
    state: IssuerState = IssuerState.ACTIVE
    since: datetime.date | None = None
    until: datetime.date | None = None

    KIND: ClassVar[str] = "issuing-certificate"
    Done: ClassVar[type] = IssuerMade

    def words(self, plan: Plan) -> str:
        return (
            f"issuing CA {self.id!r} ({self.common_name}): its certificate for key {self.key or self.id!r} "
            f"is built, linted and signed by the root key, for {self.days} days; it is {self.state}"
        )

    def check(self, plan: Plan) -> None:
        if self.state not in (IssuerState.PLANNED, IssuerState.ACTIVE):
            raise ConfigurationError(f'a new issuer is "planned" or "active", not {self.state.value!r}')
        if self.since and self.until and self.until < self.since:
            raise ConfigurationError(f"until = {self.until} lies before since = {self.since}")
        _check(plan, self.id, self.key or self.id)

    async def perform(self, room: Room, attempt: Attempt) -> IssuerMade:
        label = self.key or self.id
        public_key = room.draft.key(label).public_key
        not_before = room.clock.now() - BACKDATE

        def build(key: PrivateKey, serial: bytes) -> bytes:
            made = ca_certificates.issuing(
                room.draft.root,
                key,
                public_key,
                room.subject(self.common_name),
                serial,
                not_before,
                urls(room.settings),
                policies=policies(room.settings),
                client_auth=room.settings.ca.rules is Rules.PRIVATE,
                lifetime=self.days * DAY,
            )
            must_outlive(room.draft.root, made)
            return made

        certificate = await room.root_signs(attempt, Kind.ISSUING, build)
        return IssuerMade(
            SealedIssuer(
                self.id,
                KeyUse.ISSUING,
                keys.algorithm_of(label, public_key),
                label,
                certificate,
                room.draft.key(label).custody,
                self.state,
                midnight(self.since) if self.since else 0,
                midnight(self.until) + DAY - 1 if self.until else 0,
            )
        )

    def apply(self, draft: Draft, done: IssuerMade) -> None:
        draft.issuers[done.issuer.id] = done.issuer


@dataclass(frozen=True, slots=True)
class LocalServiceCertificate:
    """The CA of our own servers, constrained to acme.tls_names."""

    id: str
    common_name: str
    key: str = ""
    days: int = ca_certificates.ISSUING_LIFETIME // DAY

    KIND: ClassVar[str] = "local-service-certificate"
    Done: ClassVar[type] = IssuerMade

    def words(self, plan: Plan) -> str:
        return (
            f"local service CA {self.id!r} ({self.common_name}), for our own directory's names only: its "
            f"certificate is built, linted and signed by the root key, for {self.days} days"
        )

    def check(self, plan: Plan) -> None:
        _check(plan, self.id, self.key or self.id)

    async def perform(self, room: Room, attempt: Attempt) -> IssuerMade:
        label = self.key or self.id
        public_key = room.draft.key(label).public_key
        not_before = room.clock.now() - BACKDATE

        def build(key: PrivateKey, serial: bytes) -> bytes:
            made = ca_certificates.local_service_issuer(
                room.draft.root,
                key,
                public_key,
                room.subject(self.common_name),
                serial,
                not_before,
                urls(room.settings),
                names=room.settings.acme.tls_names,
                lifetime=self.days * DAY,
            )
            must_outlive(room.draft.root, made)
            return made

        certificate = await room.root_signs(attempt, Kind.LOCAL_SERVICE_ISSUER, build)
        algorithm, custody = keys.algorithm_of(label, public_key), room.draft.key(label).custody
        return IssuerMade(SealedIssuer(self.id, KeyUse.LOCAL_SERVICE, algorithm, label, certificate, custody))

    def apply(self, draft: Draft, done: IssuerMade) -> None:
        draft.issuers[done.issuer.id] = done.issuer


def urls(settings: Settings) -> ca_certificates.Urls:
    """Where the root's certificate and CRL are published."""
    base = settings.repository.base_url
    return ca_certificates.Urls(f"{base}/issuers/{ROOT}.crt", f"{base}/crl/{ROOT}-0.crl")


def policies(settings: Settings) -> tuple[str, ...]:
    """The policies of the subscriber profiles, which the CAs above them must carry."""
    found = profiles.from_settings(settings)
    return next(profile.policies for name, profile in found.items() if name != profiles.LOCAL_SERVICE)


def _check(plan: Plan, id: str, label: str) -> None:
    if not id.replace("-", "").isalnum() or not id.isascii():
        raise ConfigurationError(f"the id {id!r} becomes part of URLs: letters, digits and hyphens only")
    plan.must_have_key(label, TokenRole.ISSUING)
    plan.certify(id, f"the certificate of {id!r}")


def midnight(date: datetime.date) -> int:
    """The first second of a day (UTC), POSIX."""
    return int(datetime.datetime(date.year, date.month, date.day, tzinfo=datetime.UTC).timestamp())
