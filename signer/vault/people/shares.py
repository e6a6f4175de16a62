"""Activation data in shares: a token's PIN, of which k people together have the whole and k - 1 have nothing.

The PIN is the text of a 16-octet secret, split by Shamir's scheme over GF(2^128); each share is sealed to its
holder.  Beside the shares stand one-way checks, of the secret and of each share: a wrong share is noticed as
such, before a PIN is tried (a token locks after a few wrong ones).  They tell nothing, as what they are
taken of has 128 bits of entropy even for k - 1 holders together.

Must never: hold a secret in a repr or an error, or give one to fewer people than the threshold.

Shamir, "How to share a secret" (CACM 22, 1979); BR 6.2.2, 6.4.1; CPS 6.2.2, 6.4; docs/adr/0007-activation.md.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec
from Crypto.Protocol.SecretSharing import Shamir
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import ConfigurationError, Refused
from core.people import Identity, Person, seal

SECRET = 16
"""Octets: the field of the scheme, and more than any search can cover."""

MIN_THRESHOLD = 2
"""One share alone activates nothing (CPS 6.4.1)."""

MAX_HOLDERS = 32
"""More people than any ceremony sees; the index is one octet in what is signed and sealed."""

Secret = bytes | bytearray

_DIGEST = hashlib.sha256().digest_size
_INFO = b"acme-server share v1\x00"
_DIGITS = b"0123456789abcdef"
_CHECK = b"acme-server share check v1\x00"


@dataclass(frozen=True, slots=True)
class Share:
    """One person's share of the PIN of the token with this serial number, sealed; what its file holds.

    `index` counts from 1; `holder_id` is `Person.id`.
    """

    token: str
    threshold: int
    index: int
    holder_id: str
    sealed: bytes = field(repr=False)

    def open(self, identity: Identity) -> bytes:
        """The share itself, for its holder only.  Raises `Refused`."""
        return identity.open(info(self.token, self.index), self.sealed)

    def save(self, path: Path) -> None:
        """Write the share's file; without its holder's identity it is useless."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> Share:
        """Read a share's file.  Raises `ConfigurationError`."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Share)
        except OSError as error:
            raise ConfigurationError(f"the share {path} cannot be read ({error.strerror})") from error
        except msgspec.MsgspecError as error:
            raise ConfigurationError(f"{path} is no share ({error})") from error


@dataclass(frozen=True, slots=True)
class Splitting:
    """A secret in shares.  `check` is public: digests of the secret and of each share, in their order."""

    check: bytes
    threshold: int
    shares: tuple[Share, ...]


def split(secret: bytes, threshold: int, holders: Sequence[Person], token_serial: str) -> Splitting:
    """Shares of a 16-octet secret for `holders`, `threshold` of whom together have it.

    Raises `ConfigurationError` when the numbers or the holders cannot keep that promise.
    """
    if len(secret) != SECRET:
        raise ValueError(f"the secret of a PIN has {SECRET} octets")
    if not MIN_THRESHOLD <= threshold <= len(holders) <= MAX_HOLDERS:
        raise ConfigurationError(
            f"{threshold} of {len(holders)} people cannot share a PIN: at least {MIN_THRESHOLD} must be "
            f"needed, and at most {MAX_HOLDERS} hold a share"
        )
    for what, keys in (
        ("signing", {each.signing_key for each in holders}),
        ("sealing", {each.sealing_key for each in holders}),
    ):
        if len(keys) != len(holders):
            raise ConfigurationError(f"two holders have the same {what} key: one person, one share")
    parts = [part for _, part in Shamir.split(threshold, len(holders), secret)]
    return Splitting(
        check=b"".join(_digest(token_serial, index, part) for index, part in enumerate([secret, *parts])),
        threshold=threshold,
        shares=tuple(
            Share(token_serial, threshold, index, holder.id, seal(holder, info(token_serial, index), part))
            for index, (holder, part) in enumerate(zip(holders, parts, strict=True), 1)
        ),
    )


def must_be_share(part: Secret, index: int, check: bytes, token_serial: str) -> None:
    """That an opened share is the one of the splitting.  Raises `Refused`; no PIN was tried."""
    if not _fits(part, index, check, token_serial):
        raise Refused(
            "share.wrong",
            f"this is not share {index} of the token {token_serial}: it is of another ceremony, or damaged",
        )


def combine(opened: Mapping[int, Secret], threshold: int, check: bytes, token_serial: str) -> bytearray:
    """The secret from opened shares by their index; the caller wipes it.  Raises `Refused`, no PIN tried."""
    if len(opened) < threshold:
        raise Refused("share.few", f"{len(opened)} of {threshold} shares are here: more people must come")
    for index, part in opened.items():
        must_be_share(part, index, check, token_serial)
    parts = cast("Mapping[int, bytes]", opened)  # the library takes either; bytes would be one more copy
    secret = taken(Shamir.combine(list(parts.items())[:threshold]))
    if not _fits(secret, 0, check, token_serial):
        wipe(secret)
        raise Refused(
            "share.combination",
            "the shares fit each by itself, but not together: the sealed checks were made of other shares",
        )
    return secret


def pin_of(secret: bytes | bytearray) -> bytearray:
    """The PIN: 32 hexadecimal digits, which every token takes; the caller wipes it."""
    # Digit by digit: `hex()` would leave the whole PIN behind in a str, which nothing can wipe.
    return bytearray(_DIGITS[half] for octet in secret for half in (octet >> 4, octet & 15))


def wipe(secret: bytearray) -> None:
    """Overwrite a secret that is no longer needed."""
    secret[:] = bytes(len(secret))


def taken(secret: bytes) -> bytearray:
    """A copy that can be wiped of what a library handed out to us alone; the original is overwritten.

    A freed object keeps its octets until another one happens to be put in its place.
    """
    copy = bytearray(secret)
    # CPython lays the octets of a bytes object behind its header and before one NUL.
    ctypes.memset(id(secret) + bytes.__basicsize__ - 1, 0, len(secret))
    # The CPU's vector registers still hold what the cipher left there last; a thread that is begun now takes
    # them along, and the dynamic loader saves them on its stack, where root's look found a share.
    AESGCM(bytes(32)).encrypt(bytes(12), bytes(256), None)
    return copy


def info(token_serial: str, index: int) -> bytes:
    """What a share is sealed under: it opens as this share of this token only."""
    return _INFO + bytes([index]) + token_serial.encode()


def _fits(part: Secret, index: int, check: bytes, token_serial: str) -> bool:
    expected = check[index * _DIGEST : (index + 1) * _DIGEST]
    return index >= 0 and hmac.compare_digest(_digest(token_serial, index, part), expected)


def _digest(token_serial: str, index: int, part: Secret) -> bytes:
    digest = hashlib.sha256(_CHECK + bytes([index]) + token_serial.encode() + b"\x00")
    digest.update(part)  # joined to the rest it would leave a copy behind
    return digest.digest()
