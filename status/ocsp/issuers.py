"""Finds the issuer that a CertID means (RFC 6960 section 4.1.1).

The issuers are rows, so that answers need the vault only for signatures.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import Clock
from core.database import Reader
from status.ocsp.request import CertId

_REREAD_AFTER = 5.0
"""Seconds between two looks at the table for a CertID nobody knows: a stranger cannot keep us reading."""


class IssuerIndex:
    """(hash algorithm, name hash, key hash) -> issuer id, of issuers that have not ended."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._issuers: dict[tuple[str, bytes, bytes], tuple[str, int]] = {}
        self._read_at: float | None = None

    def find(self, certificate: CertId) -> str | None:
        """The issuer's id, or None when it is none of ours.  Raises `TransientError`: nobody can say now."""
        key = (certificate.hash_name, certificate.name_hash, certificate.key_hash)
        found = self._issuers.get(key)
        if found is None:
            self._reread()
            found = self._issuers.get(key)
        # Whatever an issuer signed ends with it; its key says nothing any more (CPS 6.3.2).
        return found[0] if found is not None and self._clock.latest() <= found[1] else None

    def _reread(self) -> None:
        at = self._clock.monotonic()
        if self._read_at is not None and at - self._read_at < _REREAD_AFTER:
            return
        # The local-service issuer has no responder: its certificates name none, its CRL answers.
        for row in self._reader.all("SELECT id, certificate FROM issuers WHERE use = 'issuing'"):
            ends = not_after(row["certificate"])
            for hash_name, name_hash, key_hash in certid_hashes(row["certificate"]):
                self._issuers[hash_name, name_hash, key_hash] = row["id"], ends
        self._read_at = at  # not before: of a look that failed nothing is known, and nothing may be denied


def not_after(issuer_der: bytes) -> int:
    """The last second of an issuer's certificate, POSIX."""
    return int(x509.load_der_x509_certificate(issuer_der).not_valid_after_utc.timestamp())


def certid_hashes(issuer_der: bytes) -> list[tuple[str, bytes, bytes]]:
    """(hash name, issuerNameHash, issuerKeyHash): of the Name's DER and of the bits of the public key."""
    issuer = x509.load_der_x509_certificate(issuer_der)
    name = issuer.subject.public_bytes()
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        bits = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    else:
        bits = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return [(h, hashlib.new(h, name).digest(), hashlib.new(h, bits).digest()) for h in ("sha1", "sha256")]
