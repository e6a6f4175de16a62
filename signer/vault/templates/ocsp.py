"""A basic OCSP response from a DER template.

One SingleResponse for each certificate asked about, no nonce (RFC 9919: responses are made before they are
asked for), signed by the issuer's delegated responder, whose certificate travels along.  Error responses are
unsigned and not made here.

RFC 6960 section 4.2; BR 7.3 (no singleExtensions, revocationReason from the allowed list).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from core import der
from core.errors import Refused
from signer.api import OcspRequest
from signer.vault.templates.authority import Issuer
from signer.vault.templates.crl import ALLOWED_REASONS

MAX_VALIDITY = 10 * 86400
"""Seconds, BR 4.9.10; Microsoft asks for 7 days, our default is 96 hours (status.ocsp_validity)."""

MAX_STATUSES = 20
"""In one answer.  Nobody needs more, and a stranger shall not have long ones signed."""

_HASHES = {
    "sha1": der.algorithm("1.3.14.3.2.26", der.NULL),
    "sha256": der.algorithm("2.16.840.1.101.3.4.2.1", der.NULL),
}
"""RFC 4055 section 2.1: written with NULL parameters, accepted without.  SHA-1 protects nothing here."""

_GOOD = der.implicit(0, b"")
_BASIC = der.oid("1.3.6.1.5.5.7.48.1.1")
_SUCCESSFUL = der.enumerated(0)


def responder_key_hash(public_key_bits: bytes) -> bytes:
    """KeyHash of RFC 6960 section 4.2.1: SHA-1 over the octets of the responder key's BIT STRING."""
    return hashlib.sha1(public_key_bits, usedforsecurity=False).digest()


def build_tbs(
    issuer: Issuer,
    responder_key_hash: bytes,
    responder_not_after: int,
    requests: Sequence[OcspRequest],
    produced_at: int,
) -> bytes:
    """The ResponseData in DER, of one or more statuses, each judged alike; responder id by key.

    Raises `Refused` for a nextUpdate past the responder's certificate and whatever BR 7.3 forbids.
    """
    if not 1 <= len(requests) <= MAX_STATUSES:
        raise Refused(
            "ocsp.count", f"an answer has 1 to {MAX_STATUSES} statuses: set status.ocsp_certificates"
        )
    return der.sequence(
        der.explicit(2, der.octet_string(responder_key_hash)),
        der.generalized_time(produced_at),
        der.sequence(*(_single(issuer, responder_not_after, each) for each in requests)),
    )


def assemble(tbs: bytes, signature_algorithm: bytes, signature: bytes, responder_certificate: bytes) -> bytes:
    """The OCSPResponse (successful) around a signed ResponseData."""
    basic = der.sequence(
        tbs,
        signature_algorithm,
        der.bit_string(signature),
        der.explicit(0, der.sequence(responder_certificate)),
    )
    return der.sequence(_SUCCESSFUL, der.explicit(0, der.sequence(_BASIC, der.octet_string(basic))))


def _single(issuer: Issuer, responder_not_after: int, request: OcspRequest) -> bytes:
    if request.issuer_id != issuer.id:
        raise Refused("ocsp.issuer", "the request names another issuer")
    if request.hash_name not in _HASHES:
        raise Refused("ocsp.hash", "a CertID is made with sha1 or sha256")
    if not 0 < request.next_update - request.this_update <= MAX_VALIDITY:
        raise Refused(
            "ocsp.validity", "nextUpdate is at most 10 days after thisUpdate: set status.ocsp_validity"
        )
    if request.next_update > responder_not_after:
        raise Refused(
            "ocsp.next-update", "nextUpdate lies after the responder's notAfter: renew the responder"
        )
    certificate_id = der.sequence(
        _HASHES[request.hash_name],
        der.octet_string(issuer.name_hash(request.hash_name)),
        der.octet_string(issuer.key_hash(request.hash_name)),
        der.tlv(der.INTEGER, request.serial),
    )
    return der.sequence(
        certificate_id,
        _status(request),
        der.generalized_time(request.this_update),
        der.explicit(0, der.generalized_time(request.next_update)),
    )


def _status(request: OcspRequest) -> bytes:
    if request.revoked_at is None:
        return _GOOD
    if request.revoked_at > request.this_update:
        raise Refused(
            "ocsp.revoked-at", "the revocation lies after thisUpdate: the clock or the register is wrong"
        )
    reason = b""
    if request.reason:
        if request.reason not in ALLOWED_REASONS:
            raise Refused("ocsp.reason", f"reason code {request.reason} may not be said (BR 7.3)")
        reason = der.explicit(0, der.enumerated(request.reason))
    return der.tlv(0xA1, der.generalized_time(request.revoked_at) + reason)
