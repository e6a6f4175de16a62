"""A signed OCSP answer in a hundred octets: what is common to many lies in a *frame*, the rest in a *record*.

The responder's certificate, the names and hashes are the same in all answers of an issuer, and they are nine
tenths of an answer.  From frame, record and serial number the answer comes back octet for octet as it was
signed: `taken_apart` proves that for each one before it is kept.

Must never: give back an answer that was not signed like this.

RFC 6960 section 4.2; docs/adr/0033.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from core import der
from core.errors import CaError
from signer.api import OcspRequest
from status.ocsp.answer import Answer

TOLERANCE = 300
"""Seconds by which an answer may be from the future before it is not believed: a clock was set back."""

HASH_NAMES = ("sha1", "sha256")
"""Of CertIDs; the place in here is the last octet of a key."""

YOUNG = 5
"""Seconds: two processes read one clock at different moments."""

SERIAL_OCTETS = 20
"""RFC 5280 section 4.1.2.2; a stranger may ask about longer ones, which nobody has."""

KEY_OCTETS = SERIAL_OCTETS + 2
"""A serial number of 20 octets at most, its length, and the CertID's hash: sorted as SQLite sorts serials."""

_FIELDS = Struct(f">{KEY_OCTETS}sHBHIIIIQ")
_CRC = Struct(">I")
_BASIC = der.oid("1.3.6.1.5.5.7.48.1.1")
_SUCCESSFUL = der.enumerated(0)
_GOOD = der.implicit(0, b"")
_TIME_OCTETS = 17
_Parts = tuple[bytes | int, ...]


class NotAnAnswer(CaError):
    """What the vault sent is not what was asked for, or cannot be put together again from a record."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the answers of one responder about one issuer, by one hash, have in common; parts in DER.

    `certificate_id` is the CertID without the serial number, `certificates` the responder's, in its [0].
    """

    issuer_id: str
    hash_name: str
    certificate_id: bytes
    responder_id: bytes
    algorithm: bytes
    certificates: bytes


class Record(NamedTuple):
    """The rest.  Times in POSIX seconds; `revoked_at` None means good; `version` is the revocation row's,
    0 while there is none.

    A tuple, since a frozen dataclass takes three times as long to make.
    """

    key: bytes
    version: int
    this_update: int
    next_update: int
    produced_at: int
    revoked_at: int | None
    reason: int
    signature: bytes

    @property
    def order(self) -> tuple[int, int]:
        """The greater one is the newer one."""
        return self.version, self.this_update


def key_of(serial: bytes, hash_name: str) -> bytes:
    """The key of the answer about `serial`, whose CertID is made by `hash_name`."""
    return serial.ljust(SERIAL_OCTETS, b"\0") + bytes((len(serial), HASH_NAMES.index(hash_name)))


def start_of(serial: bytes) -> bytes:
    """A key that is not after any of `serial`, and after all of the serial numbers before it."""
    return serial.ljust(SERIAL_OCTETS, b"\0") + bytes((len(serial), 0))


def serial_of(key: bytes) -> bytes:
    return key[: key[20]]


def hash_of(key: bytes) -> str:
    return HASH_NAMES[key[21]]


def packed(record: Record, frame: int, slot: int) -> bytes:
    """The record's octets, its frame by number and its signature in `slot` octets, with a checksum."""
    fields = _FIELDS.pack(
        record.key,
        frame,
        record.reason,
        len(record.signature),
        record.this_update,
        record.next_update,
        record.produced_at,
        record.revoked_at or 0,
        record.version,
    )
    octets = fields + record.signature.ljust(slot, b"\0")
    return octets + _CRC.pack(zlib.crc32(octets))


def packed_octets(slot: int) -> int:
    """How many octets `packed` gives."""
    return _FIELDS.size + slot + _CRC.size


def unpacked(octets: bytes) -> tuple[Record, int] | None:
    """The record and its frame's number; None when the octets are damaged."""
    end = len(octets) - _CRC.size
    if end < _FIELDS.size or _CRC.unpack_from(octets, end)[0] != zlib.crc32(octets[:end]):
        return None
    key, frame, reason, length, this, until, produced, revoked, version = _FIELDS.unpack_from(octets)
    signature = octets[_FIELDS.size : _FIELDS.size + length]
    return Record(key, version, this, until, produced, revoked or None, reason, signature), frame


def answer(frame: Frame, record: Record) -> Answer:
    """The answer as it leaves."""
    octets = together(frame, record)
    young = record.revoked_at is not None and record.this_update <= record.revoked_at + YOUNG
    return Answer(octets, record.this_update, record.next_update, hashlib.sha256(octets).hexdigest(), young)


def together(frame: Frame, record: Record) -> bytes:
    """The OCSPResponse in DER."""
    serial, signature, revoked_at = serial_of(record.key), record.signature, record.revoked_at
    form = _form(frame, len(serial), len(signature), revoked_at is not None, record.reason)
    times = _time(record.this_update), _time(record.next_update)
    if revoked_at is None:
        return form % (_time(record.produced_at), serial, *times, signature)
    return form % (_time(record.produced_at), serial, _time(revoked_at), *times, signature)


def taken_apart(
    octets: bytes, request: OcspRequest, version: int, like: Frame | None = None
) -> tuple[Frame, Record]:
    """Frame and record of a signed answer to `request`; `like` is the frame that it probably has.

    Raises `NotAnAnswer` when they do not give the same octets again: then it says something else.
    """
    try:
        found = ocsp.load_der_ocsp_response(octets)
        record = Record(
            key=key_of(request.serial, request.hash_name),
            version=version,
            this_update=request.this_update,
            next_update=request.next_update,
            produced_at=int(found.produced_at_utc.timestamp()),
            revoked_at=request.revoked_at,
            reason=request.reason or 0,
            signature=found.signature,
        )
        if like is not None and like.issuer_id == request.issuer_id and together(like, record) == octets:
            return like, record
        frame = _frame(octets, found, request)
        if together(frame, record) == octets:
            return frame, record
    except (ValueError, IndexError) as error:
        raise NotAnAnswer(f"the vault's answer about {request.serial.hex()}: {error}") from error
    raise NotAnAnswer(f"the vault's answer about {request.serial.hex()} is not the one that was asked for")


def responder_until(frame: Frame) -> int:
    """notAfter of the responder's certificate, POSIX seconds."""
    certificate = der.only(der.only(frame.certificates, 0xA0).content, der.SEQUENCE).content
    return int(x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp())


def _frame(octets: bytes, found: ocsp.OCSPResponse, request: OcspRequest) -> Frame:
    _, body = der.elements(der.only(octets, der.SEQUENCE).content)
    _, inner = der.elements(der.only(body.content, der.SEQUENCE).content)
    parts = [*der.elements(der.only(inner.content, der.SEQUENCE).content)]
    data = [*der.elements(parts[0].content)]
    [single] = der.elements(data[2].content)
    identity = [*der.elements(next(der.elements(single.content)).content)]
    [responder] = found.certificates
    return Frame(
        issuer_id=request.issuer_id,
        hash_name=request.hash_name,
        certificate_id=b"".join(each.encoding for each in identity[:3]),
        responder_id=data[0].encoding,
        algorithm=parts[1].encoding,
        certificates=der.explicit(0, der.sequence(responder.public_bytes(Encoding.DER))),
    )


@lru_cache(maxsize=1024)
def _form(frame: Frame, serial: int, signature: int, revoked: bool, reason: int) -> bytes:
    """An answer with a `%b` for each part of its own; those of others like it are as long."""
    status: _Parts = (_GOOD,)
    if revoked:
        coded = der.explicit(0, der.enumerated(reason)) if reason else b""
        status = _around(0xA1, _TIME_OCTETS, coded)
    single = _around(
        der.SEQUENCE,
        *_around(der.SEQUENCE, frame.certificate_id, *_around(der.INTEGER, serial)),
        *status,
        _TIME_OCTETS,
        *_around(0xA0, _TIME_OCTETS),
    )
    singles = _around(der.SEQUENCE, *single)
    data = _around(der.SEQUENCE, frame.responder_id, _TIME_OCTETS, *singles)
    bits = _around(der.BIT_STRING, b"\0", signature)  # none of them unused
    basic = _around(der.SEQUENCE, *data, frame.algorithm, *bits, frame.certificates)
    typed = _around(der.SEQUENCE, _BASIC, *_around(der.OCTET_STRING, *basic))
    whole = _around(der.SEQUENCE, _SUCCESSFUL, *_around(0xA0, *typed))
    return b"".join(b"%b" if isinstance(each, int) else each.replace(b"%", b"%%") for each in whole)


def _around(tag: int, *inside: bytes | int) -> _Parts:
    """`inside` under `tag`; a number is a part of so many octets that comes later."""
    length = sum(each if isinstance(each, int) else len(each) for each in inside)
    return der.header(tag, length), *inside


@lru_cache(maxsize=4096)
def _time(at: int) -> bytes:
    return der.tlv(
        der.GENERALIZED_TIME, datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%SZ").encode("ascii")
    )
