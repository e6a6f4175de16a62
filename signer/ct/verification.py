"""Is this answer of a log an SCT for what was sent to it?

Must never: let an SCT pass whose signature does not verify over exactly what the final certificate will show.

RFC 6962 sections 3.2 and 4.1; static-ct-api (leaf index).
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from signer.ct import sct
from signer.ct.log_list import Log
from signer.ct.sct import Sct

CLOCK_TOLERANCE = 5
"""Seconds that a log's clock may be ahead of ours, or behind it."""

_SHA256, _RSA, _ECDSA = 4, 1, 3
"""RFC 5246 section 7.4.1.4.1."""


class Answer(msgspec.Struct):
    """The JSON of add-chain and add-pre-chain (RFC 6962 section 4.1); octets in base64."""

    sct_version: int
    id: str
    timestamp: int
    extensions: str
    signature: str


def verified(answer: Answer, log: Log, entry_type: int, entry: bytes, *, since: int, now: int) -> bytes:
    """The encoded SCT of an answer to `entry`.  Arguments and errors as `verify`."""
    if answer.sct_version != 0:
        raise ValueError(f"version {answer.sct_version} of an SCT is unknown")
    if _octets(answer.id) != log.id:
        raise ValueError("the SCT is another log's")
    hash, algorithm, signature = sct.signature_of(_octets(answer.signature))
    found = Sct(log.id, answer.timestamp, _octets(answer.extensions), hash, algorithm, signature)
    if not 0 <= found.timestamp < 1 << 64:
        raise ValueError("the timestamp is no number of 64 bits")
    verify(found, log, entry_type, entry, since=since, now=now)
    return sct.encode(found)


def verify(found: Sct, log: Log, entry_type: int, entry: bytes, *, since: int, now: int) -> None:
    """Require that `found` is an SCT of `log` for `entry`.  Raises ValueError.

    `since`, POSIX seconds, is a time before which `entry` did not exist.
    """
    if found.timestamp > (now + CLOCK_TOLERANCE) * 1000:
        raise ValueError("the timestamp lies in the future")
    if found.timestamp < (since - CLOCK_TOLERANCE) * 1000:
        raise ValueError("the timestamp is older than what was sent")
    if log.tiled:
        sct.leaf_index(found.extensions)
    octets = sct.signed_octets(found.timestamp, found.extensions, entry_type, entry)
    wanted = _ECDSA if isinstance(log.key, ec.EllipticCurvePublicKey) else _RSA
    if (found.hash, found.algorithm) != (_SHA256, wanted):
        raise ValueError("the signature is of another algorithm than the log's key")
    try:
        if isinstance(log.key, ec.EllipticCurvePublicKey):
            log.key.verify(found.signature, octets, ec.ECDSA(hashes.SHA256()))
        else:
            log.key.verify(found.signature, octets, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise ValueError("the signature is wrong") from error


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
