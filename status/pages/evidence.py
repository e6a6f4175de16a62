"""What somebody sent as proof of a compromise: a signature, a JWS, a CSR, or the private key itself.

A private key is read in memory and signs a challenge of this moment at once: what is kept is that signature
and the public key, the same proof that its holder could have made (core/key_proofs.py).

Must never: keep, log or show a private key, or put it into an error's message.

BR 4.9.12.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core import key_proofs
from core.key_proofs import NoProof, Proof
from core.public_keys import RSA_SIZES

MOST_KEY_OCTETS = 4096
"""Of a private key: RSA-4096 takes 3,400 in PEM.  A longer one takes seconds to read, whoever made it up."""

MOST_KEYS = 8
"""Public keys that a bare signature is tried with."""


class Challenges(Protocol):
    """Those of challenge.py."""

    def fresh(self) -> str: ...
    def require_fresh(self, challenge: str) -> None: ...


def proof_of(sent: bytearray, challenge: str, challenges: Challenges, keys: Iterable[bytes]) -> Proof:
    """The proof in what was `sent`; `keys` are the DER SubjectPublicKeyInfos that were named.

    `challenge` is what a bare signature is over, "" where none came.  Raises `NoProof`.
    """
    if not sent.isascii():
        octets = sent  # a file in DER, or a signature as it is
    else:
        if b"PRIVATE KEY-----" in sent:
            return _of_private_key(_private_pem, sent, challenges.fresh())
        if b"CERTIFICATE REQUEST-----" in sent:
            return key_proofs.of_csr(_csr_der(bytes(sent)))
        if bytes(sent[:64]).lstrip().startswith((b"{", b"eyJ")):
            proof, signed = key_proofs.of_jws(sent.decode("ascii"))
            challenges.require_fresh(signed)
            return proof
        octets = _base64(sent)
    if octets[:1] == b"\x30":
        try:
            return _of_private_key(_private_der, octets, challenges.fresh())
        except NoProof as error:
            if error.word == "private-encrypted":
                raise
        try:
            return key_proofs.of_csr(bytes(octets))
        except NoProof as error:
            if error.word != "csr-unreadable":
                raise
    return _of_signature(bytes(octets), challenge, challenges, keys)


def _of_signature(signature: bytes, challenge: str, challenges: Challenges, keys: Iterable[bytes]) -> Proof:
    if not challenge:
        raise NoProof(
            "no-challenge",
            "it came without the challenge that was signed: send that line in the field `challenge`",
        )
    challenges.require_fresh(challenge)
    known = list(dict.fromkeys(keys))[:MOST_KEYS]
    if not known:
        raise NoProof(
            "no-key",
            "a signature alone does not tell whose it is: name the certificate above as PEM, or put the "
            "public key there (openssl pkey -in key.pem -pubout)",
        )
    for spki in known:
        try:
            proof = key_proofs.of_signature(key_proofs.public_key(spki), challenge, signature)
        except NoProof:
            continue
        if proof is not None:
            return proof
    raise NoProof(
        "signature-of-none",
        "the signature does not verify with the key of any certificate named above: sign the challenge with "
        "SHA-256, exactly as it is shown",
    )


def _of_private_key(load: Callable[[bytearray], Any], octets: bytearray, challenge: str) -> Proof:
    if len(octets) > MOST_KEY_OCTETS:
        raise NoProof(
            "private-size", "this is longer than any private key of a certificate of ours: send the key alone"
        )
    try:
        key = load(octets)
    except TypeError:
        raise _encrypted() from None
    except (ValueError, UnsupportedAlgorithm) as error:
        # `from None`, and no word of the library's: nobody knows what it quotes.
        encrypted = "password" in str(error).lower() or b"ENCRYPTED" in octets
        raise (_encrypted() if encrypted else _unreadable()) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size in RSA_SIZES:
        made = _signed(key, challenge)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        key_proofs.public_key(key_proofs.spki_of(key.public_key()))  # the curve
        made = _signed(key, challenge)
    else:
        raise NoProof(
            "key-kind",
            "this CA certifies RSA and elliptic curve keys only: no certificate of ours has this key",
        )
    return made


def _signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, challenge: str) -> Proof:
    try:
        return key_proofs.of_private_key(key, challenge)
    except Exception:
        # A key made up of wrong numbers: OpenSSL checks its own signature.
        raise NoProof(
            "private-broken", "the private key does not fit together: its numbers are not those of one key"
        ) from None


def _private_pem(octets: bytearray) -> Any:
    if b"OPENSSH PRIVATE KEY" in octets:
        return serialization.load_ssh_private_key(octets, None)
    # Not validated here (slow for RSA): what it signs is verified with its public half by `check`.
    return serialization.load_pem_private_key(octets, None, unsafe_skip_rsa_key_validation=True)


def _private_der(octets: bytearray) -> Any:
    return serialization.load_der_private_key(octets, None, unsafe_skip_rsa_key_validation=True)


def _csr_der(pem: bytes) -> bytes:
    try:
        return x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise NoProof("csr-unreadable", "the CSR cannot be read: send it as PEM or DER") from None


def _base64(sent: bytearray) -> bytearray:
    try:
        return bytearray(base64.b64decode(bytes(sent).translate(None, b" \t\r\n"), validate=True))
    except (binascii.Error, ValueError):
        raise NoProof(
            "no-form",
            "this is no private key, CSR or JWS, nor a signature in base64 (openssl base64 -in proof.sig)",
        ) from None


def _encrypted() -> NoProof:
    return NoProof(
        "private-encrypted",
        "the private key is encrypted: remove the passphrase first (openssl pkey -in key.pem -out plain.pem),"
        " or rather sign the challenge with it",
    )


def _unreadable() -> NoProof:
    return NoProof(
        "private-unreadable",
        "the private key cannot be read: give it as PEM or DER (PKCS #8, PKCS #1, SEC 1) or as OpenSSH has "
        "it",
    )
