"""Signed certificate timestamps: their octets, read and written whole or not at all.

The layout (RFC 6962 sections 3.2 and 3.3, in the presentation language of RFC 5246 section 4):

    SCT       version(1) = 0  log_id(32)  timestamp(8, ms)  extensions<0..2^16-1>
              hash(1)  signature algorithm(1)  signature<0..2^16-1>
    list      <1..2^16-1> of opaque <1..2^16-1>
    signed    version(1) = 0  type(1) = 0  timestamp(8)  entry type(2)  entry  extensions<0..2^16-1>
    entry     x509: certificate<1..2^24-1>;  precert: issuer_key_hash(32)  tbs<1..2^24-1>

Must never: judge whether an SCT can be trusted (verification.py does), or import anything but the standard
library: the vault reads SCTs with this module.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

SCT_LIST = "1.3.6.1.4.1.11129.2.4.2"
POISON = "1.3.6.1.4.1.11129.2.4.3"
"""The two extensions of RFC 6962 section 3.3 and 3.1."""

ENTRY_X509, ENTRY_PRECERT = 0, 1
_HEAD = struct.Struct(">B32sQ")
_LEAF_INDEX_TYPE, _LEAF_INDEX_OCTETS = 0, 5


@dataclass(frozen=True, slots=True)
class Sct:
    """A version 1 SCT.  `timestamp` in ms since 1970; `hash`, `algorithm`: RFC 5246 7.4.1.4.1."""

    log_id: bytes
    timestamp: int
    extensions: bytes
    hash: int
    algorithm: int
    signature: bytes


def encode(sct: Sct) -> bytes:
    """The octets of an SCT, as they stand in a list."""
    return (
        _HEAD.pack(0, sct.log_id, sct.timestamp)
        + _vector(sct.extensions, 2)
        + bytes((sct.hash, sct.algorithm))
        + _vector(sct.signature, 2)
    )


def decode(octets: bytes) -> Sct:
    """Read an SCT.  Raises ValueError for anything but version 1 and exactly its octets."""
    if len(octets) < _HEAD.size:
        raise ValueError("an SCT is cut off")
    version, log_id, timestamp = _HEAD.unpack_from(octets)
    if version != 0:
        raise ValueError(f"SCT version {version + 1} is unknown")
    extensions, at = _opaque(octets, _HEAD.size)
    algorithms = octets[at : at + 2]
    signature, end = _opaque(octets, at + 2)
    if end != len(octets) or len(algorithms) != 2:
        raise ValueError("octets behind an SCT")
    return Sct(log_id, timestamp, extensions, algorithms[0], algorithms[1], signature)


def signature_of(octets: bytes) -> tuple[int, int, bytes]:
    """A DigitallySigned as logs answer it: hash, algorithm, signature.  Raises ValueError."""
    signature, end = _opaque(octets, 2)
    if end != len(octets):
        raise ValueError("octets behind a signature")
    return octets[0], octets[1], signature


def encode_list(scts: Iterable[bytes]) -> bytes:
    """SignedCertificateTimestampList from encoded SCTs."""
    return _vector(b"".join(_vector(each, 2) for each in scts), 2)


def decode_list(octets: bytes) -> tuple[bytes, ...]:
    """The encoded SCTs of a list.  Raises ValueError when it is empty or not exactly one list."""
    inner, end = _opaque(octets, 0)
    if end != len(octets) or not inner:
        raise ValueError("not exactly one list of SCTs")
    found, at = [], 0
    while at < len(inner):
        each, at = _opaque(inner, at)
        found.append(each)
    return tuple(found)


def signed_octets(timestamp: int, extensions: bytes, entry_type: int, entry: bytes) -> bytes:
    """What a log signs over: `entry` from `x509_entry` or `precert_entry`."""
    head = struct.pack(">BBQH", 0, 0, timestamp, entry_type)
    return head + entry + _vector(extensions, 2)


def x509_entry(certificate: bytes) -> bytes:
    """The entry of a final certificate in DER."""
    return _vector(certificate, 3)


def precert_entry(issuer_key_hash: bytes, tbs: bytes) -> bytes:
    """The entry of a precertificate: SHA-256 of the issuer's SubjectPublicKeyInfo, TBS without poison."""
    return issuer_key_hash + _vector(tbs, 3)


def leaf_index(extensions: bytes) -> int:
    """The index that a static-ct log promises in its SCT's extensions.  Raises ValueError without one.

    Extension: type(1) = 0, data<0..2^16-1> = uint40 (static-ct-api, "SCT Extension").  Others may follow.
    """
    at = 0
    while at < len(extensions):
        kind = extensions[at]
        data, at = _opaque(extensions, at + 1)
        if kind == _LEAF_INDEX_TYPE:
            if len(data) != _LEAF_INDEX_OCTETS:
                break
            return int.from_bytes(data)
    raise ValueError("no leaf index in the SCT's extensions, which every static-ct log sets")


def _vector(octets: bytes, length: int) -> bytes:
    if len(octets) >= 1 << 8 * length:
        raise ValueError(f"{len(octets)} octets do not fit a vector with a length of {length}")
    return len(octets).to_bytes(length) + octets


def _opaque(octets: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    end = start + int.from_bytes(octets[at:start])
    if len(octets) < start or len(octets) < end:
        raise ValueError("a vector is longer than what holds it")
    return octets[start:end], end
