"""Which subscriber keys we certify, and whether one is known to be weak.  No network, no private keys.

BR 6.1.1.3 (weak keys), 6.1.5 and 6.1.6 (sizes and parameters), 7.1.3.1 (exact encodings).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import gmpy2
from badkeys.checks import checkrsa
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

RSA_SIZES = (2048, 3072, 4096)
"""Bits.  BR 6.1.5 asks for 2048 or more; these three, so that lists of weak keys can be complete."""

CURVES = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}
"""BR 6.1.5: no other curve."""

RSA_EXPONENTS = range(65537, 2**256, 2)
"""BR 6.1.6 SHOULD: odd, from 2^16+1 to 2^256-1."""

OFFLINE_CHECKS = (
    "fermat",
    "roca",
    "rsainvalid",
    "rsapoly",
    "sharedprimes",
    "smalld",
    "smallfactors",
    "pattern",
)
"""badkeys' checks that need neither a data file nor the network.  `blocklist` without its file ends the
process (sys.exit), so it stays out until the operator's own list is built.  `rsabias` only warns."""

_REASONS = {
    "fermat": "its two primes lie so close together that it can be factored (Fermat)",
    "roca": "it was made by a chip with the ROCA flaw (CVE-2017-15361)",
    "rsainvalid": "it is not a valid RSA key",
    "rsapoly": "its modulus shows the pattern of a broken key generator",
    "sharedprimes": "it shares a prime with keys that are publicly known",
    "smalld": "its private exponent is so small that it can be computed (Wiener)",
    "smallfactors": "its modulus has a small factor",
    "pattern": "its modulus repeats a pattern that no random number has",
}
_MAX_SPKI = 1024
"""Octets; RSA-4096 with a 256-bit exponent needs 582."""


class WeakKey(ValueError):
    """The key may not be certified; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """`algorithm` is "rsa-2048", "ec-p256" ...; `spki_sha256` the hash of the SubjectPublicKeyInfo."""

    algorithm: str
    spki_sha256: bytes


def check(spki: bytes, *, thoroughly: bool = False) -> KeyInfo:
    """Judge a DER SubjectPublicKeyInfo.  Raises `WeakKey`.

    About 0.5 ms for an RSA key, 30 microseconds for an elliptic curve key.  `thoroughly` also sees that an
    RSA modulus is no prime, which takes 1 to 8 ms more: for the registration authority, on behalf of a
    subscriber with a broken key generator.  Nobody else is helped by it.
    """
    if len(spki) > _MAX_SPKI:
        raise WeakKey("the public key is longer than any that we certify: make an RSA 2048 or a P-256 key")
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        # OpenSSL refuses points off the curve, the point at infinity and explicit parameters.
        raise WeakKey(f"the public key cannot be read: {error}; make an RSA 2048 or a P-256 key") from error
    if isinstance(key, rsa.RSAPublicKey):
        algorithm = _check_rsa(key, thoroughly)
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        algorithm = CURVES[key.curve.name]
    else:
        raise WeakKey("only RSA keys and keys on P-256, P-384 or P-521 are certified: make one of those")
    canonical = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if canonical != spki:
        # BR 7.1.3.1 gives the octets: RSA with NULL, curves by name; the point uncompressed.
        raise WeakKey(
            "the public key is not encoded as BR 7.1.3.1 demands: encode it with NULL / uncompressed"
        )
    return KeyInfo(algorithm, hashlib.sha256(spki).digest())


def number(spki: bytes) -> bytes:
    """What lists of known keys name a key by: modulus or x-coordinate, big-endian, without leading zeros.

    Raises ValueError for a SubjectPublicKeyInfo that is neither an RSA nor an elliptic curve key's.
    """
    key = serialization.load_der_public_key(spki)
    if isinstance(key, rsa.RSAPublicKey):
        value = key.public_numbers().n
    elif isinstance(key, ec.EllipticCurvePublicKey):
        value = key.public_numbers().x
    else:
        raise ValueError("neither an RSA nor an elliptic curve key")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def warm() -> None:
    """Load what the first check would load (tables of known primes, 30 ms), outside of any hot path."""
    for size in RSA_SIZES:
        checkrsa((1 << size - 1) + 1, e=65537, checks=("sharedprimes", "smallfactors"))


def _check_rsa(key: rsa.RSAPublicKey, thoroughly: bool) -> str:
    numbers = key.public_numbers()
    if key.key_size not in RSA_SIZES:
        raise WeakKey(f"an RSA key of {key.key_size} bits is not certified: make one of 2048, 3072 or 4096")
    if numbers.e not in RSA_EXPONENTS:
        raise WeakKey("the RSA exponent is not odd and between 65537 and 2^256 (BR 6.1.6): use 65537")
    # BR 6.1.6: not the power of a prime; the first power is a prime itself.
    if gmpy2.is_power(numbers.n) or (thoroughly and gmpy2.is_strong_prp(numbers.n, 2)):
        raise WeakKey("the RSA modulus is a prime or a power: anybody can factor it. Make a new key")
    faults = checkrsa(numbers.n, e=numbers.e, checks=OFFLINE_CHECKS)
    if faults:
        reasons = "; ".join(_REASONS[name] for name in faults)
        raise WeakKey(f"the RSA key is weak: {reasons}. Make a new key with other software")
    return f"rsa-{key.key_size}"
