"""(3) of the issuance cycle: what is new about a certificate, and its row in the register.

An approved request gets an issuance id, a serial number, an issuing CA, a CRL shard and its validity.

Must never: draw anything twice; reserve a serial number for a blocked key.

BR 6.1.1.3, 6.3.2, 7.1.2.7; CPS 5.5.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from core import blocked_keys, certificates
from core.certificates import Reservation
from core.clock import Clock
from core.database import Transaction
from core.errors import Refused
from core.evidence import SignedStatement
from core.randomness import Randomness, token
from core.settings import Settings
from signer import serials, succession
from signer.api import Applicant, Description, LeafRequest
from signer.software import SOFTWARE

BACKDATE = 60
"""Seconds before now at which a certificate begins, for clients whose clock is a little slow."""


@dataclass(frozen=True, slots=True)
class Approved:
    """A request that the registration authority approved.

    `request_id` is opaque and names the request for ever; `public_key` a SubjectPublicKeyInfo; `not_before`
    and `not_after` POSIX seconds, None for the profile's own; `evidence` and `applicant` all that the vault
    shall see.
    """

    request_id: str
    account_url: str
    names: tuple[str, ...]
    public_key: bytes
    profile: str
    not_before: int | None
    not_after: int | None
    evidence: tuple[SignedStatement, ...]
    applicant: Applicant | None = None


class Drawing:
    """Draws what the settings and the vault's description leave open."""

    def __init__(self, settings: Settings, clock: Clock, randomness: Randomness) -> None:
        self._settings = settings
        self._clock = clock
        self._randomness = randomness

    def request(self, approved: Approved, description: Description) -> LeafRequest:
        """The request with its new names.  Raises `Refused` and, while no issuer fits, `TransientError`."""
        serial = serials.draw(self._randomness)
        profile = self._settings.profiles.get(approved.profile)
        if profile is None:
            raise Refused("profile.unknown", f"there is no profile {approved.profile!r}")
        now = self._clock.now()
        not_before = now - BACKDATE if approved.not_before is None else approved.not_before
        not_after = approved.not_after
        if not_after is None:
            not_after = not_before + profile.validity - 1
        chosen = succession.choose(
            description.issuers,
            succession.family_of(approved.public_key),
            profile,
            succession.Validity(not_before, not_after),
            now,
            exactly=approved.not_after is not None,
        )
        return LeafRequest(
            issuance_id=token(self._randomness),
            serial=serial,
            issuer_id=chosen.issuer.id,
            profile=approved.profile,
            names=approved.names,
            account_url=approved.account_url,
            public_key=approved.public_key,
            not_before=not_before,
            not_after=chosen.not_after,
            crl_shard=int.from_bytes(serial[-4:]) % self._settings.status.shards_of(chosen.issuer.id),
            evidence=approved.evidence,
            applicant=approved.applicant,
        )

    def reservation(self, approved: Approved, request: LeafRequest, description: Description) -> Reservation:
        """The register's row for a request."""
        return Reservation(
            id=request.issuance_id,
            serial=request.serial,
            issuer_id=request.issuer_id,
            crl_shard=request.crl_shard,
            request_id=approved.request_id,
            account_url=approved.account_url,
            profile=approved.profile,
            names=approved.names,
            spki_sha256=hashlib.sha256(approved.public_key).digest(),
            not_before=request.not_before,
            not_after=request.not_after,
            versions=self._versions(approved.profile, description),
            evidence=_encode(approved.evidence),
        )

    def _versions(self, profile: str, description: Description) -> dict[str, str]:
        """What was in force (CPS 5.5.1)."""
        ca = self._settings.ca
        return {
            "terms": ca.terms_version,
            "cps": ca.cps_version,
            "profile": profile,
            "linter": description.linter,
            "software": SOFTWARE,
        }


def reserve(tx: Transaction, reservation: Reservation) -> None:
    """Insert the row.  Raises `Refused` when the key is blocked."""
    # Here and not only when the request was approved: the key may have been blocked since.
    if blocked_keys.is_blocked(tx, reservation.spki_sha256):
        raise Refused("key.blocked", "this key is known to be compromised: make a new one")
    certificates.reserve(tx, reservation)


_encode = msgspec.msgpack.Encoder().encode
