"""The people with trusted roles: whose word counts, and who alone can open what is sealed to them.

A person is a pair of public keys with a name: one that signs (a transcript, a share handed to the vault, a
request to resume) and one to which secrets are sealed (a share of a PIN).  The private halves are made on the
person's own machine, lie in one file under a passphrase, and never come near the CA.

Must never: show a private key or an opened secret in a repr or an error; accept a signature made for another
purpose.

RFC 8032 (Ed25519), RFC 9180 (HPKE), RFC 9106 (Argon2id); BR 5.2.2, 6.2.2, 6.4; CPS 5.2, 6.4.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from core.errors import ConfigurationError, Refused
from core.randomness import Randomness

PUBLIC_SUFFIX = ".person.json"
"""Of the file that a person hands out; anybody may read it."""

MIN_PASSPHRASE = 12
"""Characters.  The file may be copied, so the passphrase must withstand guessing at leisure."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_ARGON_MEMORY = 64 * 1024
"""KiB: with 3 passes and 4 lanes the second recommended choice of RFC 9106 section 4; a tenth of a second."""

_SALT, _NONCE, _KEY = 16, 12, 32
_ID = 16  # hexadecimal digits
_PURPOSE = b"acme-server person v1\x00"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a trusted role.  `signing_key` is a raw Ed25519 public key, `sealing_key` X25519."""

    name: str
    role: str
    signing_key: bytes
    sealing_key: bytes

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.signing_key) != _KEY or len(self.sealing_key) != _KEY:
            raise ConfigurationError(
                "a person has a name and two public keys of 32 octets: make the file with "
                "`acme-server ceremony identity`"
            )

    @property
    def id(self) -> str:
        """16 hexadecimal digits over both keys: what a record names the person by."""
        return hashlib.sha256(self.signing_key + self.sealing_key).hexdigest()[:_ID]

    def save(self, directory: Path) -> Path:
        """Write NAME.person.json into `directory`; its path.  Raises `ConfigurationError` if it is there."""
        path = directory / f"{self.name.strip().replace(' ', '-').replace('/', '-')}{PUBLIC_SUFFIX}"
        _write_new(path, _json(self), 0o644)
        return path

    @classmethod
    def load(cls, path: Path) -> Person:
        """Read a public file.  Raises `ConfigurationError`."""
        return _read(path, Person)


@dataclass(frozen=True, slots=True)
class Identity:
    """A person's private half, while the passphrase is given."""

    person: Person
    _signing: Ed25519PrivateKey = field(repr=False, compare=False)
    _sealing: X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def make(cls, name: str, role: str, randomness: Randomness) -> Identity:
        """A new person's keys."""
        return cls._of(name, role, randomness.octets(2 * _KEY))

    def save(self, path: Path, passphrase: str, randomness: Randomness) -> None:
        """Write the private file, encrypted, mode 0600.  Raises `ConfigurationError`; never overwrites."""
        if len(passphrase) < MIN_PASSPHRASE:
            raise ConfigurationError(
                f"the passphrase is too short: take at least {MIN_PASSPHRASE} characters, better five words"
            )
        salt, nonce = randomness.octets(_SALT), randomness.octets(_NONCE)
        secret = self._signing.private_bytes_raw() + self._sealing.private_bytes_raw()
        locked = AESGCM(_key(passphrase, salt)).encrypt(nonce, secret, _PURPOSE + _json(self.person))
        _write_new(path, _json(_File(1, self.person, salt, nonce, locked)), 0o600)

    @classmethod
    def load(cls, path: Path, passphrase: str) -> Identity:
        """Open a private file.  Raises `ConfigurationError` when it is none, `Refused` when it stays shut."""
        file = _read(path, _File)
        try:
            secret = AESGCM(_key(passphrase, file.salt)).decrypt(
                file.nonce, file.locked, _PURPOSE + _json(file.person)
            )
        except InvalidTag as error:
            raise Refused(
                "person.passphrase",
                f"{path} does not open: the passphrase is another, or the file was changed",
            ) from error
        return cls._of(file.person.name, file.person.role, secret)

    def sign(self, context: bytes, octets: bytes) -> bytes:
        """The signature of `octets` for the purpose `context` (a few letters, no NUL), and for no other."""
        return self._signing.sign(_framed(context, octets))

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """What `seal` sealed to this person under the same `info`.  Raises `Refused`."""
        try:
            return unseal(self._sealing, info, sealed)
        except Refused as error:
            raise Refused(
                "person.sealed", f"this was not sealed to {self.person.name} ({self.person.id}), or changed"
            ) from error

    @classmethod
    def _of(cls, name: str, role: str, secret: bytes) -> Identity:
        signing = Ed25519PrivateKey.from_private_bytes(secret[:_KEY])
        sealing = X25519PrivateKey.from_private_bytes(secret[_KEY:])
        person = Person(
            name, role, signing.public_key().public_bytes_raw(), sealing.public_key().public_bytes_raw()
        )
        return cls(person, signing, sealing)


def verify(person: Person, context: bytes, octets: bytes, signature: bytes) -> None:
    """That `person` signed `octets` for this purpose.  Raises `Refused`."""
    try:
        Ed25519PublicKey.from_public_bytes(person.signing_key).verify(signature, _framed(context, octets))
    except (InvalidSignature, ValueError) as error:
        raise Refused(
            "person.signature", f"the signature is not {person.name}'s ({person.id}): sign it again"
        ) from error


def seal(person: Person, info: bytes, secret: bytes) -> bytes:
    """`secret`, which `person` alone can open, under the same `info` only (HPKE base mode)."""
    return seal_to(person.sealing_key, info, secret)


def seal_to(public_key: bytes, info: bytes, secret: bytes) -> bytes:
    """`seal` to a raw X25519 public key.  Raises `Refused` when it is none."""
    try:
        return _SUITE.encrypt(secret, X25519PublicKey.from_public_bytes(public_key), info)
    except ValueError as error:
        raise Refused("person.sealing-key", "nothing can be sealed to this key: it is no good") from error


def unseal(private_key: X25519PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """What was sealed to this key under `info`.  Raises `Refused`."""
    try:
        return _SUITE.decrypt(sealed, private_key, info)
    except (InvalidTag, ValueError) as error:
        raise Refused("person.sealed", "this was sealed to another key, or changed") from error


@dataclass(frozen=True, slots=True)
class _File:
    version: int
    person: Person
    salt: bytes
    nonce: bytes
    locked: bytes


def _key(passphrase: str, salt: bytes) -> bytes:
    return Argon2id(salt=salt, length=_KEY, iterations=3, lanes=4, memory_cost=_ARGON_MEMORY).derive(
        passphrase.encode()
    )


def _framed(context: bytes, octets: bytes) -> bytes:
    # A purpose ends at the first NUL, so no two purposes and messages run into each other.
    if b"\x00" in context:
        raise ValueError("a purpose holds no NUL")
    return b"acme-server\x00" + context + b"\x00" + octets


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _read(path: Path, type: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{path} is not such a file ({error})") from error


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError as error:
        raise ConfigurationError(f"{path} is there already and is kept: choose another name") from error
    with os.fdopen(file, "wb") as open_file:
        os.fchmod(open_file.fileno(), mode)
        open_file.write(content)
        open_file.flush()
        os.fsync(open_file.fileno())
