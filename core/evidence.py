"""Signed statements of what a perspective saw: the only thing that makes the vault sign a leaf.

A perspective signs one `Statement` for each check it made.  The vault, which knows no network and no
database, verifies the signatures itself against public keys pinned at a ceremony.  The evidence therefore
survives a takeover of the front, the worker and the database (docs/issuance.md).

BR 3.2.2.4, 3.2.2.8, 3.2.2.9, 5.4.1; RFC 8555 section 8; RFC 8659.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CONTEXT = b"acme-server evidence v1\x00"
"""Signed before the payload, so that a signature here can never be mistaken for one of another protocol."""


class Result(StrEnum):
    """The three values of a verdict: our own faults are never the applicant's failure."""

    PASS = "pass"
    FAIL = "fail"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class ControlSeen:
    """What the perspective saw of the applicant's control of the name (BR 3.2.2.4, 5.4.1).

    `method` is the ACME challenge type; `adn` the Authorization Domain Name; `problem` an ACME error word
    and `detail` its sentence when `result` is not pass; `trace` short lines of what was asked and answered.
    `thumbprint` is that of the account key in the key authorization that was looked for (RFC 8555 section
    8.1): whoever published it has named the key whose requests for certificates count (docs/adr/0012).
    `ttl` in seconds is that of a record that may be used again (dns-persist-01); 0 for this attempt only.
    `account_hash` is the URI by which such a record names the account and the key of `thumbprint`
    (core/account_hash.py), "" where it names no key; `good_until` POSIX seconds after which it grants
    nothing, 0 for never.
    """

    method: str
    adn: str
    result: Result
    problem: str = ""
    detail: str = ""
    trace: tuple[str, ...] = ()
    thumbprint: str = ""  # a field that came later: statements made before it bind no key, and do not count
    ttl: int = 0
    account_hash: str = ""
    good_until: int = 0


@dataclass(frozen=True, slots=True)
class CaaSeen:
    """What the perspective saw of CAA (RFC 8659, RFC 8657).

    `records` are presentation-format records of the relevant RRset, `found_at` the name that held them
    ("" when the climb found none), `ttl` their TTL in seconds.  `exempt` is the reason why no look-up was
    made ("local name"), which only private rules accept.  `method` is the challenge type for which the
    records were judged (RFC 8657 section 4): the vault compares it with the one that showed control.
    `authenticated` says that the resolver proved the answers of all levels up to the deciding one (RFC 4035
    AD), `trace` holds short lines of what was asked and answered (BR 5.4.1).
    """

    result: Result
    records: tuple[str, ...] = ()
    found_at: str = ""
    ttl: int = 0
    exempt: str = ""
    problem: str = ""
    detail: str = ""
    method: str = ""
    authenticated: bool = False
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """One perspective's statement about one name in one attempt.

    `name` is the identifier as the certificate will carry it: an A-label dNSName in lower case, with its
    "*." when the order asked for a wildcard.  `attempt` is unique for one fan-out and is never shared by
    two.  `checked_at` is POSIX seconds, `took` milliseconds.  `control` is None in a CAA recheck.
    """

    perspective: str
    name: str
    account_url: str
    attempt: str
    checked_at: int
    control: ControlSeen | None
    caa: CaaSeen | None
    took: int = 0


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """`payload` is the msgpack form of a `Statement`; `signature` is ECDSA P-256 with SHA-256, DER."""

    key_id: bytes
    payload: bytes
    signature: bytes

    def statement(self) -> Statement:
        """The statement, unverified.  Raises ValueError when the payload is not one."""
        try:
            return _decoder.decode(self.payload)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not an evidence statement: {error}") from error


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Statement)
_ALGORITHM = ec.ECDSA(hashes.SHA256())


def least_ttl(statements: Iterable[Statement]) -> int:
    """The least TTL, in seconds, of the records that showed control; 0 where there is none."""
    seen = [statement.control for statement in statements if statement.control is not None]
    return min((control.ttl for control in seen if control.result is Result.PASS), default=0)


def good_until(statements: Iterable[Statement]) -> int | None:
    """When (POSIX seconds) the records that showed control no longer grant it; None for never."""
    seen = [statement.control for statement in statements if statement.control is not None]
    ends = [each.good_until for each in seen if each.result is Result.PASS and each.good_until]
    return min(ends, default=None)


def key_id(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo."""
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


class StatementSigner(Protocol):
    """Signs statements with a perspective's key."""

    def sign(self, statement: Statement) -> SignedStatement:
        """The statement with its signature."""


class PerspectiveKey:
    """A perspective's own signing key (P-256)."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._private_key = private_key
        self.key_id = key_id(private_key.public_key())

    def sign(self, statement: Statement) -> SignedStatement:
        payload = _encoder.encode(statement)
        return SignedStatement(self.key_id, payload, self._private_key.sign(CONTEXT + payload, _ALGORITHM))


def verify(signed: SignedStatement, public_key: ec.EllipticCurvePublicKey) -> Statement:
    """The statement, its signature checked.  Raises ValueError when either is wrong."""
    try:
        public_key.verify(signed.signature, CONTEXT + signed.payload, _ALGORITHM)
    except InvalidSignature as error:
        raise ValueError("the signature of an evidence statement does not verify") from error
    return signed.statement()
