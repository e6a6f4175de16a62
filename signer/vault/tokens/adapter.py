"""Private keys for `cryptography`'s builders, whose private half stays in the token.

Each adapter owns a public key and a function that signs octets.  It can do nothing but sign, with the one
algorithm of its key (algorithms.py): every other use of a private key raises.

Must never: hold, ask for or return private key material.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils

from signer.vault.tokens import algorithms

Buffer = bytes | bytearray | memoryview

Sign = Callable[[bytes], bytes]
"""Octets to be signed in, the signature as a certificate carries it out (ECDSA: DER of r and s)."""


def private_key(
    public_key: algorithms.PublicKey, sign: Sign
) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """A key for `CertificateBuilder.sign()` and its like, signing through `sign`."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return _RsaKey(public_key, sign)
    return _EcKey(public_key, sign)


def unsigned(public_key: algorithms.PublicKey) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """A key that "signs" with a dummy: what it makes is for the linter alone."""
    dummy = algorithms.dummy_signature(public_key)
    return private_key(public_key, lambda _: dummy)


class _Refusing:
    """Everything that a token's key does not do."""

    def _no(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("the private key stays in the token: it signs and does nothing else")

    private_numbers = private_bytes = decrypt = exchange = _no

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _: object) -> Any:
        return self


class _RsaKey(_Refusing, rsa.RSAPrivateKey):
    def __init__(self, public_key: rsa.RSAPublicKey, sign: Sign) -> None:
        self._public_key = public_key
        self._sign = sign

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public_key

    def sign(
        self,
        data: Buffer,
        padding: Any,
        algorithm: asymmetric_utils.Prehashed | hashes.HashAlgorithm | asymmetric_utils.NoDigestInfo,
    ) -> bytes:
        _must_be_the_keys_own(self._public_key, algorithm, _is_pkcs1(padding))
        return self._sign(bytes(data))


class _EcKey(_Refusing, ec.EllipticCurvePrivateKey):
    def __init__(self, public_key: ec.EllipticCurvePublicKey, sign: Sign) -> None:
        self._public_key = public_key
        self._sign = sign

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public_key

    def sign(self, data: Buffer, signature_algorithm: Any) -> bytes:
        _must_be_the_keys_own(
            self._public_key, signature_algorithm.algorithm, isinstance(signature_algorithm, ec.ECDSA)
        )
        return self._sign(bytes(data))


def _is_pkcs1(scheme: object) -> bool:
    return isinstance(scheme, padding.PKCS1v15)


def _must_be_the_keys_own(public_key: algorithms.PublicKey, hash_algorithm: Any, scheme_fits: bool) -> None:
    own = algorithms.for_key(public_key)
    if not scheme_fits or getattr(hash_algorithm, "name", "") != own.hash_name:
        raise ValueError(f"this key signs with {own.hash_name} and its one scheme only (BR 7.1.3.2)")
