"""Keys that are born in the token and never leave it: made, read back, checked, used.

A key pair is found by its label.  Its custody is read back (custody.py); the public key is judged by its own
parameters, never by what was asked for.  Signatures are made over a digest computed here (CKM_RSA_PKCS over a
DigestInfo, CKM_ECDSA) where the token allows it: a CRL of 45 MB need not cross the PKCS#11 call.

Must never: read a private attribute's value.

PKCS#11 v2.40 sections 2.1.8 and 2.3.6; RFC 8017 section 9.2; BR 6.1.1, 6.2.7; CPS 6.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, cast

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from core.errors import HaltIssuance
from signer.vault.tokens import custody as custody_classes
from signer.vault.tokens.algorithms import PublicKey
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.message import Data, digest
from signer.vault.tokens.modules import Hashing

PUBLIC_EXPONENT = 65537
"""BR 6.1.6: an odd number in 2^16+1 .. 2^256-1; this one everywhere."""

_SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""RFC 8017 section 9.2, note 1: the DER of DigestInfo for SHA-256, up to the digest itself."""


class SigningHandle(Protocol):
    """A private key's handle in one session, which python-pkcs11 types no further."""

    def __getitem__(self, attribute: Attribute) -> Any:
        """An attribute's value."""

    def sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        """C_SignInit and C_Sign."""


class KeyAlgorithm(StrEnum):
    """What a key in the token can be."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"


_RSA_BITS = {KeyAlgorithm.RSA_2048: 2048, KeyAlgorithm.RSA_3072: 3072, KeyAlgorithm.RSA_4096: 4096}
_CURVES = {KeyAlgorithm.EC_P256: "secp256r1", KeyAlgorithm.EC_P384: "secp384r1"}

_EC_HASHES = {KeyAlgorithm.EC_P256: "sha256", KeyAlgorithm.EC_P384: "sha384"}
"""The hash that goes with a curve (BR 7.1.3.2.2)."""

_MECHANISMS: dict[Hashing, dict[KeyAlgorithm, Mechanism]] = {
    Hashing.OURS: dict.fromkeys(_RSA_BITS, Mechanism.RSA_PKCS) | dict.fromkeys(_CURVES, Mechanism.ECDSA),
    Hashing.TOKENS: dict.fromkeys(_RSA_BITS, Mechanism.SHA256_RSA_PKCS)
    | {KeyAlgorithm.EC_P256: Mechanism.ECDSA_SHA256, KeyAlgorithm.EC_P384: Mechanism.ECDSA_SHA384},
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair in a token: its label, its algorithm and its public half.

    `local` is false for a key that was restored from a backup into this token.
    """

    label: str
    algorithm: KeyAlgorithm
    public_key: PublicKey
    local: bool = True

    @property
    def spki(self) -> bytes:
        """The SubjectPublicKeyInfo, DER."""
        return self.public_key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def generate(
    session: pkcs11.Session,
    label: str,
    algorithm: KeyAlgorithm,
    custody: Custody = Custody.SEALED,
    *,
    tells_local: bool = True,
) -> Key:
    """Make a key pair in the token and check what came out (`find`).

    Raises `HaltIssuance` when the label is taken or the key is not what was asked for.
    """
    if exists(session, label):
        raise HaltIssuance(
            f"the token already holds a key {label!r}: a key is made once; choose another label"
        )
    if algorithm in _RSA_BITS:
        session.generate_keypair(
            KeyType.RSA,
            _RSA_BITS[algorithm],
            id=identifier(label),
            label=label,
            store=True,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template=custody_classes.template(custody),
        )
    else:
        parameters = session.create_domain_parameters(
            KeyType.EC,
            {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[algorithm])},
            local=True,
        )
        parameters.generate_keypair(
            id=identifier(label),
            label=label,
            store=True,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template=custody_classes.template(custody),
        )
    key = find(session, label, custody, tells_local=tells_local)
    if not key.local:
        raise HaltIssuance(f"key {label!r} says that it was not made in this token: do not use it")
    if key.algorithm is not algorithm:
        raise HaltIssuance(f"the token was asked for a key of {algorithm} and made one of {key.algorithm}")
    return key


def labels(session: pkcs11.Session) -> frozenset[str]:
    """The labels of all private keys that the token shows."""
    found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    return frozenset(str(key[Attribute.LABEL]) for key in found)


def destroy(session: pkcs11.Session, label: str) -> int:
    """Destroy every object of this label (C_DestroyObject), both halves; how many there were."""
    found = list(session.get_objects({Attribute.LABEL: label}))
    for each in found:
        each.destroy()
    return len(found)


def identifier(label: str) -> bytes:
    """CKA_ID of both halves: 20 octets, made from the label."""
    return hashlib.sha256(label.encode()).digest()[:20]


def exists(session: pkcs11.Session, label: str) -> bool:
    """Whether the token holds a private key of this label."""
    return bool(list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})))


def find(
    session: pkcs11.Session, label: str, custody: Custody = Custody.SEALED, *, tells_local: bool = True
) -> Key:
    """The key pair with this label, its custody read back and its public parameters checked.

    Raises `HaltIssuance` when it is missing, ambiguous, of another custody or of a kind that we do not use.
    """
    private = private_key(session, label)
    custody_classes.must_be(label, private, custody, tells_local=tells_local)
    found = list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label}))
    if len(found) != 1:
        raise HaltIssuance(f"the token holds {len(found)} public keys {label!r}, not one")
    public = cast(pkcs11.PublicKey, found[0])
    encode = encode_rsa_public_key if public.key_type is KeyType.RSA else encode_ec_public_key
    try:
        der = encode(public)
        # A PKCS#1 RSAPublicKey and a SubjectPublicKeyInfo are told apart by the loader.
        key = serialization.load_der_public_key(der)
    except ValueError as error:
        raise HaltIssuance(f"the public key {label!r} cannot be read: {error}") from error
    return Key(
        label,
        algorithm_of(label, key),
        cast(PublicKey, key),
        custody_classes.is_local(private) or not tells_local,
    )


def private_key(session: pkcs11.Session, label: str) -> SigningHandle:
    """The handle of a private key.  Raises `HaltIssuance` when there is not exactly one."""
    found = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}))
    if len(found) != 1:
        raise HaltIssuance(
            f"the token holds {len(found)} private keys {label!r}, not one: is it the right token and PIN?"
        )
    return cast(SigningHandle, found[0])


def mechanism(algorithm: KeyAlgorithm, offered: Container[Mechanism], ways: Sequence[Hashing]) -> Mechanism:
    """The first way to sign that the token offers.  Raises `HaltIssuance` when there is none."""
    for hashing in ways:
        wanted = _MECHANISMS[hashing][algorithm]
        if wanted in offered:
            return wanted
    raise HaltIssuance(
        f"the token has no mechanism to sign with a key of {algorithm}: use another key or token"
    )


def sign(
    private: SigningHandle, algorithm: KeyAlgorithm, data: Data, mechanism: Mechanism | None = None
) -> bytes:
    """The signature as X.509 carries it: RSASSA-PKCS1-v1_5 with SHA-256, or ECDSA as DER.

    `mechanism` as `mechanism()` chose it; without one the digest is ours.
    """
    chosen = mechanism or _MECHANISMS[Hashing.OURS][algorithm]
    if chosen is Mechanism.RSA_PKCS:
        octets = _SHA256_DIGEST_INFO + digest(data, "sha256")
    elif chosen is Mechanism.ECDSA:
        octets = digest(data, _EC_HASHES[algorithm])
    else:
        octets = bytes(data)
    signature = bytes(private.sign(octets, mechanism=chosen))
    if algorithm in _RSA_BITS:
        return signature
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))


def algorithm_of(label: str, key: object) -> KeyAlgorithm:
    """What kind of key a public key is.  Raises `HaltIssuance` when this CA does not use such keys."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.public_numbers().e != PUBLIC_EXPONENT:
            raise HaltIssuance(f"key {label!r} has the public exponent {key.public_numbers().e}")
        for algorithm, bits in _RSA_BITS.items():
            if key.key_size == bits:
                return algorithm
    elif isinstance(key, ec.EllipticCurvePublicKey):
        for algorithm, curve in _CURVES.items():
            if key.curve.name == curve:
                return algorithm
    raise HaltIssuance(f"key {label!r} is of a kind that this CA does not use")
