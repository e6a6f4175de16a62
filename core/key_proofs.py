"""Proof that somebody has the private key of a certificate: a statement, and the key's signature on it.

Four forms lead to the same thing, a record that anybody can check again later:

    signature   over a challenge of ours: RSA (PKCS #1 or PSS) or ECDSA in DER, with SHA-256, 384 or 512
    jws         the same challenge as the payload of a JWS, its key in `jwk`
    csr         a PKCS #10 request whose common name begins with "Proof of Key Compromise"
    key         the private key itself was shown: whoever read it signed the challenge with it and let it go

The challenge names what it is for and which CA it is meant for, in words that nothing else that is signed
begins with: neither TLS nor an X.509 or JOSE structure can be made to serve as one.

Must never: hold a private key; call something a proof that does not verify.

BR 4.9.12; Mozilla root store policy 6 (documented methods to prove a compromise); RFC 2986; RFC 7515, 7518.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from josepy import errors as josepy_errors
from josepy.jwk import JWK

from core.errors import CaError
from core.public_keys import CURVES, RSA_EXPONENTS, RSA_SIZES

TITLE = "Proof of Key Compromise"
"""What the common name of such a CSR begins with, and every challenge."""

_CHALLENGE = TITLE + " v1 | CA {ca} | "

MOST_OCTETS = 16384
"""Of a CSR or a JWS."""

_HASHES = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
_JWS_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_JWS_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class NoProof(CaError):
    """It proves nothing; the message says why, and what would.

    `word` names the message for pages that say it in another language (status/pages/content/words.toml).
    """

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


class Form(StrEnum):
    """How it was shown."""

    SIGNATURE = "signature"
    JWS = "jws"
    CSR = "csr"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Proof:
    """`signed` is the challenge, the JWS Signing Input, or the whole CSR (then `signature` is empty).

    `spki` is the DER SubjectPublicKeyInfo of the key.  Nothing in it is secret.
    """

    form: Form
    spki: bytes
    signed: bytes
    signature: bytes

    @property
    def spki_sha256(self) -> bytes:
        return hashlib.sha256(self.spki).digest()


def beginning(ca: str) -> str:
    """How every challenge of the CA with that repository URL begins."""
    return _CHALLENGE.format(ca=ca)


def check(proof: Proof, ca: str) -> None:
    """Check everything but the age of the challenge.  Raises `NoProof`."""
    key = public_key(proof.spki)
    if proof.form is Form.CSR:
        found = of_csr(proof.signed)
        if found.spki != proof.spki:
            raise NoProof("other-key", "the CSR is another key's")
        return
    if proof.form is Form.JWS:
        found, challenge = _of_jws_parts(proof.signed, proof.signature)
        if found.spki != proof.spki:
            raise NoProof("other-key", "the JWS is another key's")
    else:
        challenge = proof.signed
        if not _verifies(key, proof.signature, challenge):
            raise NoProof("signature", "the signature does not verify")
    if not challenge.decode("ascii", "replace").startswith(beginning(ca)):
        raise NoProof(
            "other-ca", f"what was signed is no challenge of this CA: it begins with {beginning(ca)!r}"
        )


def of_signature(key: PublicKey, challenge: str, signature: bytes) -> Proof | None:
    """The proof when `signature` is the key's, over the challenge or (`echo`) its line; else None."""
    for signed in (challenge.encode(), challenge.encode() + b"\n"):
        if _verifies(key, signature, signed):
            return Proof(Form.SIGNATURE, spki_of(key), signed, signature)
    return None


def of_private_key(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, challenge: str) -> Proof:
    """The proof that its holder could have made: signed here, so that nothing but that need be kept."""
    signed = challenge.encode()
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return Proof(Form.KEY, spki_of(key.public_key()), signed, signature)


def of_csr(der: bytes) -> Proof:
    """The proof that a DER CSR is.  Raises `NoProof`."""
    if len(der) > MOST_OCTETS:
        raise NoProof("csr-size", "the CSR is longer than any that is needed: put only the common name in it")
    try:
        request = x509.load_der_x509_csr(der)
        key = _fit(request.public_key())  # before the signature: a huge key takes long to verify
        names = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        algorithm = request.signature_hash_algorithm
        valid = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise NoProof("csr-unreadable", f"the CSR cannot be read ({error})") from None
    if not isinstance(algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise NoProof(
            "csr-hash",
            "the CSR must be signed with SHA-256, 384 or 512: weaker hashes can be made to collide",
        )
    if not valid:
        raise NoProof(
            "csr-signature", "the signature of the CSR does not verify: make it with the key in question"
        )
    if not any(name.startswith(TITLE) for name in names):
        raise NoProof(
            "csr-name",
            f"the common name of the CSR must begin with {TITLE!r}: anybody may publish another CSR",
        )
    return Proof(Form.CSR, spki_of(key), der, b"")


def of_jws(text: str) -> tuple[Proof, str]:
    """The proof that a JWS is (compact or flattened JSON, `jwk` in the header), and the challenge in it.

    The caller judges the challenge's age; that it is one of ours is for `check`.  Raises `NoProof`.
    """
    if len(text) > MOST_OCTETS:
        raise NoProof("jws-size", "the JWS is longer than any that is needed")
    text = text.strip()
    if text.startswith("{"):
        members = _json(text, "the JWS")
        if set(members) != {"protected", "payload", "signature"}:
            raise NoProof(
                "jws-form", "a flattened JWS has exactly the members protected, payload and signature"
            )
        parts = [str(members[name]) for name in ("protected", "payload", "signature")]
    else:
        parts = text.split(".")
    if len(parts) != 3:
        raise NoProof("jws-form", "a JWS in compact form has three parts with dots between them")
    head, payload, signature = parts
    proof, challenge = _of_jws_parts(f"{head}.{payload}".encode(), _base64url(signature, "the signature"))
    return proof, challenge.decode("ascii", "replace").rstrip("\n")


def public_key(spki: bytes) -> PublicKey:
    """The key of a DER SubjectPublicKeyInfo, if it is of a kind that we ever certified.  Raises `NoProof`."""
    try:
        return _fit(serialization.load_der_public_key(spki))
    except (ValueError, UnsupportedAlgorithm):
        raise NoProof("key-unreadable", "the public key cannot be read") from None


def spki_of(key: PublicKey) -> bytes:
    """Its SubjectPublicKeyInfo as our certificates hold it (BR 7.1.3.1)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def spki_in(certificate: x509.Certificate) -> bytes | None:
    """That of a certificate's key; None for a kind that we never certify."""
    try:
        return spki_of(_fit(certificate.public_key()))
    except (NoProof, ValueError, UnsupportedAlgorithm):
        return None


def key_hash(spki: bytes) -> str:
    """SHA-256 over a SubjectPublicKeyInfo, hexadecimal: how the register names a key."""
    return hashlib.sha256(spki).hexdigest()


def _fit(key: object) -> PublicKey:
    """Weak keys are welcome here, above all; only what would cost too much to verify is not."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size in RSA_SIZES and (key.public_numbers().e in RSA_EXPONENTS):
            return key
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key
    raise NoProof(
        "key-kind",
        "this CA certifies RSA keys of 2048, 3072 and 4096 bits and keys on P-256, P-384 and P-521: no "
        "certificate of ours has this key",
    )


def _verifies(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return any(
            _true(lambda p=p, h=h: key.verify(signature, signed, p, h)) for h in _HASHES for p in _paddings(h)
        )
    return any(_true(lambda h=h: key.verify(signature, signed, ec.ECDSA(h))) for h in _HASHES)


def _paddings(algorithm: hashes.HashAlgorithm) -> Iterator[padding.AsymmetricPadding]:
    yield padding.PKCS1v15()
    yield padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)


def _true(verify: Any) -> bool:
    try:
        verify()
    except (InvalidSignature, ValueError):
        return False
    return True


def _of_jws_parts(signing_input: bytes, signature: bytes) -> tuple[Proof, bytes]:
    head, _, payload = signing_input.decode("ascii", "replace").partition(".")
    header = _json(
        _base64url(head, "the protected header").decode("utf-8", "replace"), "the protected header"
    )
    jwk, alg = header.get("jwk"), str(header.get("alg"))
    if {"crit", "b64"} & header.keys() or not isinstance(jwk, dict):
        raise NoProof("jws-header", "the protected header holds alg and jwk, and neither crit nor b64")
    if _PRIVATE & jwk.keys():
        raise NoProof(
            "jws-private", "the jwk holds the private key: give the key itself as PEM instead, as described"
        )
    try:
        wrapped: Any = JWK.from_json(jwk)
        key = public_key(wrapped.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (josepy_errors.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise NoProof("jws-key", "the jwk is no RSA or elliptic curve public key") from None
    if not _jws_verifies(key, alg, signature, signing_input):
        raise NoProof("jws-signature", f"the signature of the JWS ({alg}) does not verify with its jwk")
    return Proof(Form.JWS, spki_of(key), signing_input, signature), _base64url(payload, "the payload")


def _jws_verifies(key: PublicKey, alg: str, signature: bytes, signed: bytes) -> bool:
    algorithm = _JWS_HASHES.get(alg[2:])
    if algorithm is None:
        return False
    if isinstance(key, rsa.RSAPublicKey):
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if alg.startswith("PS"):
            scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        elif not alg.startswith("RS"):
            return False
        return _true(lambda: key.verify(signature, signed, scheme, algorithm))
    size = (key.curve.key_size + 7) // 8
    if _JWS_CURVES.get(alg) != key.curve.name or len(signature) != 2 * size:
        return False
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    return _true(lambda: key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(algorithm)))


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NoProof("jws-form", f"{what} is no JSON") from None
    if not isinstance(found, dict):
        raise NoProof("jws-form", f"{what} is no JSON object")
    return found


def _base64url(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NoProof("jws-form", f"{what} is not base64url") from None
