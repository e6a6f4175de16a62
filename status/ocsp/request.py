"""Reads OCSP requests, by POST and by GET, in the forms that clients really send.

Must never: look anything up, or be lenient about what the DER says.

RFC 6960 section 4.1 and appendix A; RFC 9919 (which obsoletes RFC 5019) section 3.1 and 5.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from core.errors import CaError

MAX_OCTETS = 4096
"""A request for one certificate takes about 120 octets, with a nonce 260; more than this is no request."""

HASHES: dict[str, type[hashes.HashAlgorithm]] = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}
"""CertID hashes that we answer, by the vault's name for them. SHA-1 names here, it protects nothing."""


class MalformedRequest(CaError):
    """Answered by `malformedRequest` (RFC 6960 section 4.2.1)."""


@dataclass(frozen=True, slots=True)
class CertId:
    """The certificate asked for; `serial` is the content octets of its DER INTEGER."""

    hash_name: str
    name_hash: bytes
    key_hash: bytes
    serial: bytes


def of_path(tail: str) -> bytes:
    """The DER of a GET: what follows "/ocsp/" in the raw path (RFC 6960 appendix A.1).

    Clients escape '+', '/' and '=' or leave them; some leave the padding out, some join the base URL with a
    second slash, and some intermediaries turn '+' into a blank.  All of these have one meaning only, since
    the DER of a request always begins with 'M' in base64.
    """
    if len(tail) > MAX_OCTETS * 4:
        raise MalformedRequest("the path is too long for an OCSP request: use POST")
    text = unquote(tail, errors="replace").lstrip("/").replace(" ", "+").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedRequest("the path does not end in the base64 of an OCSP request") from None


def parse(der: bytes) -> CertId:
    """The one certificate that a request asks for.

    Nonces are ignored, as RFC 9654 section 2.1 permits; the optional signature of the requestor likewise.
    RFC 6960 permits a list of certificates in one request; RFC 9919 section 3.1.1 permits one, and so do we.

    Raises: `MalformedRequest`.
    """
    if len(der) > MAX_OCTETS:
        raise MalformedRequest(f"an OCSP request has at most {MAX_OCTETS} octets here")
    try:
        request = ocsp.load_der_ocsp_request(der)
        algorithm = request.hash_algorithm
        unknown = [e for e in request.extensions if e.critical and not isinstance(e.value, x509.OCSPNonce)]
    except NotImplementedError:
        raise MalformedRequest("ask for one certificate a request") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedRequest(f"not an OCSP request: {error}") from error
    if unknown:
        raise MalformedRequest(f"critical extension {unknown[0].oid.dotted_string} is not understood here")
    if algorithm.name not in HASHES:
        raise MalformedRequest(f"name the issuer with SHA-256 or SHA-1, not {algorithm.name}")
    number = request.serial_number
    return CertId(
        hash_name=algorithm.name,
        name_hash=request.issuer_name_hash,
        key_hash=request.issuer_key_hash,
        serial=number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True),
    )
