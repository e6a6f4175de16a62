"""Our own lint of an OCSP answer: `cryptography` reads it back, and it says what was asked for and no more.

pkilint judges the first answer of each *shape* (status/lint.py); what a shape leaves open (serial number,
times) is judged here, in every answer, before its responder signs it.

Must never: share code with the template that it checks (ocsp.py).

RFC 6960 section 4.2; BR 4.9.10 (validity), 7.3 (reasons; no singleExtensions); docs/adr/0011.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from core import der
from core.errors import Refused
from signer.api import OcspRequest
from signer.vault.lint.crl_check import REASONS, SERIAL_OCTETS
from signer.vault.templates.authority import Issuer

_REVOKED, _GOOD = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.GOOD
_MOST = 10 * 86400
"""Seconds, BR 4.9.10."""


def check(
    response: bytes,
    issuer: Issuer,
    responder: bytes,
    key_hash: bytes,
    requests: Sequence[OcspRequest],
    produced_at: int,
) -> None:
    """Require that the OCSPResponse in DER says what `requests` want, in their order, for `issuer`, with the
    certificate `responder`, whose key has `key_hash`.  `produced_at` in POSIX seconds.  Raises `Refused`.
    """
    try:
        found = ocsp.load_der_ocsp_response(response)
        _must(found.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL, "status", "it is not successful")
        _must(found.responder_key_hash == key_hash, "responder", "another responder's key")
        [certificate] = found.certificates
        _must(certificate.public_bytes(Encoding.DER) == responder, "responder", "another responder")
        _must(int(found.produced_at_utc.timestamp()) == produced_at, "produced-at", "another producedAt")
        singles = [*found.responses]
        _must(len(singles) == len(requests), "responses", "more or fewer answers than questions")
        for single, request in zip(singles, requests, strict=True):
            _must_be_what_is_wanted(single, issuer, request)
        _must_have_no_extensions(found.tbs_response_bytes)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refused("ocsp-lint.encoding", f"the answer is not one: {error}") from error


def _must_be_what_is_wanted(found: ocsp.OCSPSingleResponse, issuer: Issuer, request: OcspRequest) -> None:
    _must(_serial(found.serial_number) == request.serial, "serial", "another serial number")
    _must(0 < found.serial_number < 1 << (8 * SERIAL_OCTETS - 1), "serial", "no serial number is like this")
    _must(found.hash_algorithm.name == request.hash_name, "hash", "the CertID has another hash")
    _must(found.issuer_name_hash == issuer.name_hash(request.hash_name), "issuer", "another issuer's name")
    _must(found.issuer_key_hash == issuer.key_hash(request.hash_name), "issuer", "another issuer's key")
    status = _GOOD if request.revoked_at is None else _REVOKED
    _must(found.certificate_status is status, "status", "another status")
    revoked = found.revocation_time_utc
    revoked_at = None if revoked is None else int(revoked.timestamp())
    _must(revoked_at == request.revoked_at, "revoked-at", "another time of revocation")
    wanted = REASONS.get(request.reason) if request.reason else None
    _must(bool(request.reason) is (wanted is not None), "reason", "a reason that may not be said (BR 7.3)")
    said = found.revocation_reason
    _must(said is (None if request.revoked_at is None else wanted), "reason", "another reason")
    this_update = int(found.this_update_utc.timestamp())
    next_update = found.next_update_utc
    _must(this_update == request.this_update, "this-update", "another thisUpdate")
    _must(
        next_update is not None and int(next_update.timestamp()) == request.next_update,
        "next-update",
        "another nextUpdate, or none (RFC 5019 section 2.2.4)",
    )
    _must(0 < request.next_update - this_update <= _MOST, "validity", "valid too long, or not at all")
    _must(revoked_at is None or revoked_at <= this_update, "revoked-at", "revoked after thisUpdate")


def _must_have_no_extensions(data: bytes) -> None:
    """Of the ResponseData: `cryptography` shows the singleExtensions of a sole answer only."""
    fields = [*der.elements(der.only(data, der.SEQUENCE).content)]
    _must(fields[-1].tag == der.SEQUENCE, "extensions", "responseExtensions, which we never write")
    for single in der.elements(fields[-1].content):
        tags = [each.tag for each in der.elements(single.content)]
        _must(len(tags) == 4 and tags[-1] == 0xA0, "extensions", "singleExtensions (BR 7.3)")


def _serial(number: int) -> bytes:
    return der.integer_content(number) if number >= 0 else b""


def _must(holds: bool, code: str, detail: str) -> None:
    if not holds:
        raise Refused(f"ocsp-lint.{code}", f"the OCSP answer was not signed: {detail}")
