"""Which signature algorithm goes with which key, and what it looks like in a certificate.

A key signs with one algorithm only, so the algorithm is a function of the public key.

BR 7.1.3.2 (the exact octets), RFC 3279 section 2.2, RFC 5758 section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from core import der
from signer.vault.tokens.message import Data, digest

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """`identifier` is the DER AlgorithmIdentifier; `hash_name` is "sha256", "sha384" or "sha512"."""

    identifier: bytes
    hash_name: str

    @property
    def hash(self) -> hashes.HashAlgorithm:
        """The hash, as `cryptography` wants it."""
        return _HASHES[self.hash_name]


_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_DIGESTED = {name: Prehashed(hash) for name, hash in _HASHES.items()}
_ECDSA_WITH = {name: ec.ECDSA(digested) for name, digested in _DIGESTED.items()}
RSA_SHA256 = SignatureAlgorithm(der.algorithm("1.2.840.113549.1.1.11", der.NULL), "sha256")
_ECDSA = {
    "secp256r1": SignatureAlgorithm(der.algorithm("1.2.840.10045.4.3.2"), "sha256"),
    "secp384r1": SignatureAlgorithm(der.algorithm("1.2.840.10045.4.3.3"), "sha384"),
    "secp521r1": SignatureAlgorithm(der.algorithm("1.2.840.10045.4.3.4"), "sha512"),
}


def for_key(public_key: object) -> SignatureAlgorithm:
    """The one algorithm with which this key's private half signs.  Raises ValueError for other keys."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return RSA_SHA256
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _ECDSA:
        return _ECDSA[public_key.curve.name]
    raise ValueError("a CA key is RSA or on P-256, P-384 or P-521: generate another in the ceremony")


def verify(public_key: PublicKey, signature: bytes, signed: Data) -> None:
    """Check a signature as it stands in a certificate.  Raises ValueError when it does not verify."""
    name = for_key(public_key).hash_name
    digested = digest(signed, name)
    try:
        if isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, digested, padding.PKCS1v15(), _DIGESTED[name])
        else:
            public_key.verify(signature, digested, _ECDSA_WITH[name])
    except InvalidSignature as error:
        raise ValueError("the signature does not verify with the signer's public key") from error


def dummy_signature(public_key: PublicKey) -> bytes:
    """Octets of the shape that a signature by this key has, for linting before the key is touched."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return b"\x5a" * (public_key.key_size // 8)
    number = der.integer(int.from_bytes(b"\x5a" * ((public_key.key_size + 7) // 8), "big"))
    return der.sequence(number, number)
