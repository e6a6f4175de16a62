"""The delegated OCSP responders: one key and one short certificate for each issuing CA.

The vault makes them by itself: at start the newest one is found in the journal; when the token is open and it
has less than `vault.responder_renewal` seconds left, another is made for the same key.  As
id-pkix-ocsp-nocheck makes a responder irrevocable, it lives 30 days at most.

RFC 6960 sections 2.6 and 4.2.2.2; BR 4.9.9, 7.1.2.8.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import Clock, ClockSteppedBack
from core.errors import CaError, ConfigurationError, Refused
from core.randomness import Randomness
from core.settings import ResponderMaker, Settings
from signer import serials
from signer.api import KeyUse
from signer.vault.lint.pool import Kind as LintKind
from signer.vault.lint.pool import LintPool
from signer.vault.record.journal import Journal, Kind
from signer.vault.signing import IssuingKey, Signer
from signer.vault.status import responder_check
from signer.vault.templates import ca_certificates, ocsp
from signer.vault.tokens import adapter, algorithms
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.session import Session

_ALGORITHM = KeyAlgorithm.EC_P256
"""Ten times cheaper than RSA, and its answers are 200 octets shorter."""

_BACKDATE = 3600
"""Seconds: relying parties' clocks are off by minutes."""

_CHECK_EVERY = 3600
"""Seconds between two looks at the time left."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Responder:
    """The responder in use for one issuer; `not_after` in POSIX seconds."""

    key: Key
    algorithm: algorithms.SignatureAlgorithm
    key_hash: bytes
    certificate: bytes
    not_after: int

    @property
    def dummy_signature(self) -> bytes:
        """What stands for a signature in an answer that is only linted."""
        return algorithms.dummy_signature(self.key.public_key)


class Responders:
    """All responders of the vault."""

    def __init__(
        self,
        settings: Settings,
        issuers: Mapping[str, IssuingKey],
        signer: Signer,
        journal: Journal,
        lint: LintPool,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        vault = settings.vault
        longest = ca_certificates.MAX_RESPONDER_LIFETIME
        if not 0 < vault.responder_renewal < vault.responder_lifetime <= longest:
            raise ConfigurationError(
                f"vault.responder_lifetime is {vault.responder_lifetime} s and vault.responder_renewal "
                f"{vault.responder_renewal} s: the first is at most {longest}, the second less than the first"
            )
        self._settings = settings
        self._issuers = {id: by for id, by in issuers.items() if by.use is KeyUse.ISSUING}
        self._signer = signer
        self._journal = journal
        self._lint = lint
        self._clock = clock
        self._randomness = randomness
        self._keys: dict[str, Key] = {}
        # Known while the token is still locked: the journal has their certificates.
        self._current: dict[str, Responder] = {}
        for id in self._issuers:
            last = journal.last_responder(id)
            if last is not None:
                self._current[id] = _responder(id, last)

    @property
    def keys(self) -> Sequence[Key]:
        """Their keys, for the self-test."""
        return list(self._keys.values())

    def take(self, keeper: Session) -> None:
        """Find the keys in the token that was opened, and make those that are missing."""
        self._keys = {id: responder_key(keeper, id) for id in self._issuers}

    async def renew(self) -> None:
        """Make the responders that are missing or soon expire; after `take`."""
        for id, by in self._issuers.items():
            now = self._clock.latest()
            if now > by.issuer.not_after:
                self._current.pop(id, None)  # whatever it signed has expired, and nobody asks any more
                continue
            current = self._current.get(id)
            if (
                current is None
                or current.key.public_key != self._keys[id].public_key
                or self._is_due(current, by, now)
            ):
                if self._settings.vault.responders is ResponderMaker.CEREMONY:
                    self._must_suffice(id, current, now)
                else:
                    try:
                        self._current[id] = _responder(id, await self._make(id, now))
                    except ClockSteppedBack as error:  # made when the clock is right; status goes on
                        _log.error("no new OCSP responder of %s: %s", id, error)

    def _must_suffice(self, id: str, current: Responder | None, now: int) -> None:
        """People make the responders here: say in time that they must come.  Raises `ConfigurationError`."""
        remedy = "hold a ceremony with a step responder-certificate, or set vault.responders"
        usable = current is not None and current.key.public_key == self._keys[id].public_key
        if current is None or not usable or current.not_after < now:
            raise ConfigurationError(f"there is no OCSP responder of {id}: {remedy}")
        _log.error(
            "the OCSP responder of %s ends in %d hours: %s", id, (current.not_after - now) // 3600, remedy
        )

    async def run(self) -> None:
        """Renew in time, until cancelled.  A failure is logged and tried again: the old one still answers."""
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            try:
                self._signer.must_be_open()
                await self.renew()
            except CaError as error:
                _log.error("no new OCSP responder: %s", error)

    def all(self) -> list[tuple[str, Responder]]:
        """The responders in use, by issuer; one whose issuer has ended is among them no more."""
        return list(self._current.items())

    def current(self, issuer_id: str) -> Responder:
        """The responder in use.  Raises `Refused` for an issuer that has none."""
        responder = self._current.get(issuer_id)
        if responder is None:
            raise Refused("ocsp.issuer", f"no OCSP responder for an issuer {issuer_id!r}")
        return responder

    def _is_due(self, current: Responder, by: IssuingKey, now: int) -> bool:
        # The last responder ends with its issuer: another one could not live longer.
        left = current.not_after - now
        return current.not_after < by.issuer.not_after and left < self._settings.vault.responder_renewal

    async def _make(self, id: str, now: int) -> bytes:
        by, key = self._issuers[id], self._keys[id]
        serial = serials.draw(self._randomness)
        not_before = max(now - _BACKDATE, by.issuer.not_before)
        remaining = by.issuer.not_after - not_before + 1
        lifetime = min(self._settings.vault.responder_lifetime, remaining)
        name = subject(self._settings, id)
        draft = ca_certificates.ocsp_responder(
            by.issuer.certificate,
            adapter.unsigned(by.key.public_key),
            key.public_key,
            name,
            serial,
            not_before,
            lifetime=lifetime,
        )
        responder_check.check(draft, by.issuer.certificate, name, key.spki, serial, not_before, lifetime)
        lint = await self._lint.lint(draft, LintKind.OCSP_RESPONDER, at=now)
        return await self._signer.certificate(
            by,
            f"ocsp-responder:{id}:{serial.hex()}",
            serial,
            x509.load_der_x509_certificate(draft).tbs_certificate_bytes,
            lint,
            intent=Kind.RESPONDER_INTENT,
            result=Kind.RESPONDER,
        )


def _responder(id: str, der: bytes) -> Responder:
    certificate = x509.load_der_x509_certificate(der)
    public_key = certificate.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)  # `_ALGORITHM`, and the journal is our own
    return Responder(
        key=Key(_label(id), _ALGORITHM, public_key),
        algorithm=algorithms.for_key(public_key),
        key_hash=ocsp.responder_key_hash(public_key.public_bytes(*_POINT)),
        certificate=der,
        not_after=int(certificate.not_valid_after_utc.timestamp()),
    )


_POINT = (Encoding.X962, PublicFormat.UncompressedPoint)


def subject(settings: Settings, issuer_id: str) -> ca_certificates.Subject:
    """A responder's name."""
    return ca_certificates.Subject(
        settings.ca.country, settings.ca.organization, f"OCSP Responder {issuer_id}"
    )


def responder_key(session: Session, issuer_id: str) -> Key:
    """An issuer's responder key in the token, made when it is missing."""
    label = _label(issuer_id)
    return session.find(label) if session.has(label) else session.generate(label, _ALGORITHM)


def _label(issuer_id: str) -> str:
    return f"ocsp-{issuer_id}"
