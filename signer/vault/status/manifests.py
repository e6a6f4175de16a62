"""Signs the repository's manifest, with keys that sign nothing else.

The vault makes the keys itself, as it makes its responders', and names them in the signature: there is no
certificate, because a TLS hierarchy may hold none that is neither a CA's, a server's nor a responder's
(BR 7.1.2).  Who pins a key compares its RFC 7638 thumbprint.  With two keys in `vault.manifest_keys` both
sign, so that a key changes without a day on which a pinned one fails.

The vault knows some of what a manifest says, and signs none that says it otherwise: its number rises, its
time is now, its issuers are the sealed ones, and no CRL in it has a number that was never signed.

Must never: sign anything else with these keys; sign a number again.

RFC 7515 (JWS, general JSON serialization), RFC 7638; docs/adr/0037.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from core.clock import Clock
from core.errors import HaltIssuance, Refused
from core.settings import Settings
from signer import api
from signer.vault.record.journal import Journal, Kind
from signer.vault.sealed.seal import Hierarchy
from signer.vault.signing import Signer
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.session import Session

TYP = "acme-server-repository-manifest+json"
"""The `typ` of the protected header: what the octets below it are (RFC 8725 section 3.11)."""

MAX_OCTETS = 8 * 2**20
"""Of a manifest: one of 1,000 shards has 0.4 MB."""

LONGEST = 30 * 86400
"""Seconds from thisUpdate to nextUpdate."""

_TOLERANCE = 60
"""Seconds between the manifest's time and ours: making one takes a few."""

_COORDINATE = 32
"""Octets of a number on P-256 (RFC 7518 section 3.4)."""

_ALGORITHM = KeyAlgorithm.EC_P256


class Manifests:
    """The manifest keys of the vault, and their use."""

    def __init__(
        self, settings: Settings, hierarchy: Hierarchy, signer: Signer, journal: Journal, clock: Clock
    ) -> None:
        self._labels = settings.vault.manifest_keys
        self._issuers = {
            each.id: x509.load_der_x509_certificate(each.certificate).fingerprint(SHA256()).hex()
            for each in hierarchy.issuers
        }
        self._signer = signer
        self._journal = journal
        self._clock = clock
        self._keys: list[Key] = []

    @property
    def keys(self) -> Sequence[Key]:
        """The keys, for the self-test; none before the token was open."""
        return self._keys

    def take(self, keeper: Session) -> None:
        """Find the keys in the token that was opened, and make those that are missing."""
        self._keys = [
            keeper.find(label) if keeper.has(label) else keeper.generate(label, _ALGORITHM)
            for label in self._labels
        ]

    async def sign(self, request: api.ManifestRequest) -> api.SignedManifest:
        """The JWS over a manifest; its number is spent before a key is used.

        Raises `Refused` for one that is not ours or says what we know to be otherwise, `TransientError`.
        """
        self._signer.must_be_open()
        sequence = self._judge(request.payload)
        await self._journal.append(
            Kind.MANIFEST,
            issuance_id=f"manifest:{sequence}",
            tbs=hashlib.sha256(request.payload).digest(),
        )
        payload = _base64(request.payload)
        signatures = []
        for key in self._keys:
            protected = _base64(_header(key))
            signature = await self._signer.plain(key, protected + b"." + payload)
            signatures.append({"protected": protected.decode(), "signature": _concatenated(signature)})
        jws = msgspec.json.encode({"payload": payload.decode(), "signatures": signatures})
        return api.SignedManifest(jws)

    def _judge(self, payload: bytes) -> int:
        """Its sequence number."""
        if len(payload) > MAX_OCTETS:
            raise Refused("manifest.size", f"a manifest has {MAX_OCTETS} octets at most")
        try:
            said = msgspec.json.decode(payload, type=_Manifest)
        except msgspec.MsgspecError as error:
            raise Refused("manifest.malformed", f"no manifest: {error}") from error
        # No await from here to the number's place in the journal.
        if said.sequence <= self._journal.last_manifest:
            raise Refused(
                "manifest.sequence",
                f"manifest {said.sequence} follows {self._journal.last_manifest}: take the next number",
            )
        now = self._clock.latest()
        this_update, next_update = said.this_update.timestamp(), said.next_update.timestamp()
        if abs(this_update - now) > _TOLERANCE or not 0 < next_update - this_update <= LONGEST:
            raise Refused("manifest.time", "a manifest is of now, and valid for 30 days at most")
        if {each.id: each.sha256 for each in said.issuers} != self._issuers:
            raise Refused("manifest.issuers", "its issuers are not those that the root sealed")
        for crl in said.crls:
            last = self._journal.last_crl_number(crl.issuer, crl.shard)
            if crl.issuer in self._issuers and crl.number > last:
                raise Refused(
                    "manifest.crl", f"CRL {crl.issuer}-{crl.shard}: number {crl.number} was never signed"
                )
        return said.sequence


class _Issuer(msgspec.Struct):
    id: str
    sha256: str


class _Crl(msgspec.Struct):
    issuer: str
    shard: int
    number: int


class _Manifest(msgspec.Struct):
    """What the vault judges; the rest of a manifest is the app's word."""

    sequence: int
    this_update: datetime
    next_update: datetime
    issuers: list[_Issuer]
    crls: list[_Crl]


def _header(key: Key) -> bytes:
    public_key = key.public_key
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp256r1":
        raise HaltIssuance(f"the key {key.label!r} in the token is no P-256 key: it is not the vault's own")
    numbers = public_key.public_numbers()
    x, y = (_base64(number.to_bytes(_COORDINATE)).decode() for number in (numbers.x, numbers.y))
    jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    # RFC 7638 section 3: the required members in this order, without white space.
    thumbprint = _base64(hashlib.sha256(msgspec.json.encode(jwk)).digest()).decode()
    return msgspec.json.encode({"alg": "ES256", "typ": TYP, "kid": thumbprint, "jwk": jwk})


def _concatenated(signature: bytes) -> str:
    """RFC 7518 section 3.4: R and S, not their DER."""
    r, s = decode_dss_signature(signature)
    return _base64(r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE)).decode()


def _base64(octets: bytes) -> bytes:
    return urlsafe_b64encode(octets).rstrip(b"=")
