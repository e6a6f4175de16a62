"""A key of `wrapped` custody on its way to a second token: encrypted for that token, and for no other.

The receiving token makes an RSA key pair for the purpose.  In the giving token the security officer, and
nobody else, can mark keys as trusted: the receiver's public key, and an AES key that is made there and then,
lives in one session and never reaches the disk.  The AES key wraps the private keys, the receiver's public
key wraps the AES key: CKM_RSA_AES_KEY_WRAP of PKCS#11 v3.0, in two steps that older tokens have as well.  A
restored key proves itself with the public key that the backup names.

Must never: see a key in the clear; wrap under a key that the security officer did not mark.

PKCS#11 v2.40 sections 4.9 and 5.12, CKA_TRUSTED and CKA_WRAP_WITH_TRUSTED; RFC 5649; RFC 8017 section 7.1;
BR 6.2.4 to 6.2.6; CPS 6.2.4, 6.2.6.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import MechanismInvalid, PKCS11Error
from pkcs11.util.ec import decode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import decode_rsa_public_key, encode_rsa_public_key

from core.errors import HaltIssuance
from signer.vault.tokens import algorithms, custody, keys
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.keys import Key, KeyAlgorithm

RECEIVER = "receiver"
"""The label of the receiving token's key pair."""

_RECEIVER_BITS: Final = 3072
"""128 bits of security: not weaker than any key that is wrapped for it."""

_AES_BITS: Final = 256
_WRAPPING_MECHANISMS = (Mechanism.AES_KEY_WRAP_KWP, Mechanism.AES_KEY_WRAP_PAD)
"""RFC 5649 under two numbers: v3.0 gave it a new one, and SoftHSM2 and NSS keep the old."""

_PROOF = b"acme-server: this key was restored"


@dataclass(frozen=True, slots=True)
class Backup:
    """A wrapped private key.  `receiver` is the SHA-256 of the only public key it was wrapped for, hex."""

    label: str
    algorithm: KeyAlgorithm
    spki: bytes
    token: str
    receiver: str
    mechanism: int
    wrapping_key: bytes
    wrapped: bytes


def make_receiver(session: pkcs11.Session) -> bytes:
    """A key pair in the receiving token that can only unwrap; its SubjectPublicKeyInfo, DER.

    The people of the ceremony compare `fingerprint` of it on both sides before anything is wrapped for it.
    """
    public, _ = session.generate_keypair(
        KeyType.RSA,
        _RECEIVER_BITS,
        label=RECEIVER,
        store=True,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        private_template={
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.DECRYPT: False,
        },
    )
    key = serialization.load_der_public_key(encode_rsa_public_key(public))
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(spki: bytes) -> str:
    """What people compare: SHA-256, hex."""
    return hashlib.sha256(spki).hexdigest()


def wrap(
    cryptoki: Cryptoki, serial: str, pin: str, so_pin: str, labels: Sequence[str], receiver: bytes
) -> tuple[Backup, ...]:
    """The keys with these labels, wrapped for `receiver` (SubjectPublicKeyInfo).

    No session of this process may be open on the token: the security officer and the user log in in turn.
    Raises `HaltIssuance` when a key is not of `wrapped` custody or the token refuses.
    """
    with _told("wrap keys for another token"), contextlib.ExitStack() as opened:
        # The wrapping keys are objects of this session and vanish with it.
        working = cryptoki.join(serial, read_write=True)
        opened.callback(working.close)
        with _logged_in(cryptoki.open_officer(serial, so_pin)):
            trusted = _trusted_receiver(working, receiver)
            wrapping: Any = working.generate_key(KeyType.AES, _AES_BITS, template=_WRAPPING_KEY)
        with _logged_in(cryptoki.open(serial, pin, read_write=True)) as session:
            made = []
            for label in labels:
                key = keys.find(session, label, Custody.WRAPPED)
                mechanism, wrapped = _wrapped(wrapping, keys.private_key(session, label))
                made.append(
                    Backup(
                        label=label,
                        algorithm=key.algorithm,
                        spki=key.spki,
                        token=serial,
                        receiver=fingerprint(receiver),
                        mechanism=int(mechanism),
                        wrapping_key=trusted.wrap_key(wrapping, mechanism=Mechanism.RSA_PKCS_OAEP),
                        wrapped=wrapped,
                    )
                )
        return tuple(made)


def restore(session: pkcs11.Session, backup: Backup) -> Key:
    """Unwrap a key into the receiving token; it signs and proves the backup's public key.

    The key's `local` is false, for ever: it was not made here.  Raises `HaltIssuance`; then nothing is kept.
    """
    if keys.exists(session, backup.label):
        raise HaltIssuance(f"the token already holds a key {backup.label!r}: restore into another token")
    try:
        public_key = serialization.load_der_public_key(backup.spki)
    except ValueError as error:
        raise HaltIssuance(f"the backup of {backup.label!r} names no public key: it was damaged") from error
    identifier = keys.identifier(backup.label)
    with _told(f"restore {backup.label!r}"):
        receiver: Any = keys.private_key(session, RECEIVER)
        wrapping = receiver.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            backup.wrapping_key,
            mechanism=Mechanism.RSA_PKCS_OAEP,
            capabilities=MechanismFlag.UNWRAP,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
        private = wrapping.unwrap_key(
            ObjectClass.PRIVATE_KEY,
            KeyType.RSA if isinstance(public_key, rsa.RSAPublicKey) else KeyType.EC,
            backup.wrapped,
            id=identifier,
            label=backup.label,
            mechanism=Mechanism(backup.mechanism),
            store=True,
            capabilities=MechanismFlag.SIGN,
            template={**custody.template(Custody.WRAPPED), **_NOT_OF_A_PRIVATE_KEY},
        )
    made: list[Any] = [private]
    try:
        made.append(session.create_object(_public_template(backup, public_key, identifier)))
        key = keys.find(session, backup.label, Custody.WRAPPED)
        if key.algorithm is not backup.algorithm or key.spki != backup.spki:
            raise HaltIssuance(f"the restored key {backup.label!r} is of another kind than the backup says")
        signature = keys.sign(keys.private_key(session, backup.label), key.algorithm, _PROOF)
        algorithms.verify(key.public_key, signature, _PROOF)
    except (PKCS11Error, ValueError, HaltIssuance) as error:
        for each in made:
            with contextlib.suppress(PKCS11Error):
                each.destroy()
        raise HaltIssuance(f"the restored key {backup.label!r} does not prove itself: {error!r}") from error
    return key


def must_enforce_trust(session: pkcs11.Session) -> None:
    """Try to break WRAP_WITH_TRUSTED on a key made for the purpose.  Raises `HaltIssuance` when it breaks.

    A token may store the attribute and ignore it (NSS does), so it is asked to do what it must refuse: wrap
    under a key that nobody marked, mark a key without the security officer, take the attribute away.
    """
    with _told("test how WRAP_WITH_TRUSTED is kept"):
        guarded = _extractable(session, {Attribute.WRAP_WITH_TRUSTED: True})
        control = _extractable(session, {Attribute.WRAP_WITH_TRUSTED: False})
        untrusted: Any = session.generate_key(
            KeyType.AES, _AES_BITS, capabilities=MechanismFlag.WRAP, template={Attribute.SENSITIVE: True}
        )
        # The same call with a key that is not guarded works: what is refused below is refused for its guard.
        _wrapped(untrusted, control)

    def mark() -> None:
        untrusted[Attribute.TRUSTED] = True
        _wrapped(untrusted, guarded)

    def unguard() -> None:
        guarded[Attribute.WRAP_WITH_TRUSTED] = False
        _wrapped(untrusted, guarded)

    for attack, what in (
        (lambda: _wrapped(untrusted, guarded), "wraps under a key that nobody trusted"),
        (mark, "lets its user mark a key as trusted"),
        (unguard, "lets WRAP_WITH_TRUSTED be taken away"),
    ):
        with contextlib.suppress(PKCS11Error):
            attack()
            raise HaltIssuance(
                f"the token {what}: it does not keep keys of wrapped custody safe; use sealed custody or "
                "another token"
            )


_WRAPPING_KEY = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: False,  # the security officer sees public objects only
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: True,
    Attribute.WRAP_WITH_TRUSTED: True,
    Attribute.TRUSTED: True,
    Attribute.WRAP: True,
    Attribute.UNWRAP: False,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.SIGN: False,
    Attribute.VERIFY: False,
}
_NOT_OF_A_PRIVATE_KEY = dict.fromkeys((Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP), DEFAULT)
"""python-pkcs11 puts these into every template of C_UnwrapKey, and a strict token refuses them."""


def _trusted_receiver(session: pkcs11.Session, spki: bytes) -> Any:
    key = serialization.load_der_public_key(spki)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _RECEIVER_BITS:
        raise HaltIssuance(
            f"a receiving token's key is RSA of {_RECEIVER_BITS} bits: make it with this software"
        )
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    template = decode_rsa_public_key(der, capabilities=MechanismFlag.WRAP)
    template |= {Attribute.TOKEN: False, Attribute.PRIVATE: False, Attribute.TRUSTED: True}
    return session.create_object(template)


def _public_template(backup: Backup, key: Any, identifier: bytes) -> dict[Attribute, Any]:
    if isinstance(key, rsa.RSAPublicKey):
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
        template = decode_rsa_public_key(der, capabilities=MechanismFlag.VERIFY)
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        template = decode_ec_public_key(backup.spki)
    return template | {
        Attribute.TOKEN: True,
        Attribute.VERIFY: True,
        Attribute.LABEL: backup.label,
        Attribute.ID: identifier,
    }


def _extractable(session: pkcs11.Session, template: dict[Attribute, Any]) -> Any:
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    _, private = parameters.generate_keypair(
        private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True, **template}
    )
    return private


def _wrapped(wrapping: Any, key: Any) -> tuple[Mechanism, bytes]:
    """The key under the first mechanism that works.  Raises the token's last refusal."""
    refusal: PKCS11Error = MechanismInvalid()
    for mechanism in _WRAPPING_MECHANISMS:
        try:
            return mechanism, wrapping.wrap_key(key, mechanism=mechanism)
        except PKCS11Error as error:
            refusal = error
    raise refusal


@contextmanager
def _logged_in(session: pkcs11.Session) -> Iterator[pkcs11.Session]:
    try:
        yield session
    finally:
        session.close()


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except PKCS11Error as error:
        raise HaltIssuance(f"the token refused to {what}: {error!r}") from error
