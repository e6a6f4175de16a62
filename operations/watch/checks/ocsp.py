"""OCSP: what the responder says of a certificate, whether it may, and whether it says the same everywhere.

Each question is asked twice: by POST with SHA-1 and by GET with SHA-256, as old and new clients do.

RFC 6960; RFC 9919; BR 4.9.9, 4.9.10.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from operations.watch.fetch import Fetcher, Got, must_be_quick, must_not_be_kept
from operations.watch.finding import State, Wrong
from operations.watch.limits import (
    CLOCKS_DIFFER,
    MARGIN,
    OCSP_AGE,
    OCSP_OCTETS,
    OCSP_VALIDITY,
    OCSP_VALIDITY_LEAST,
    RESPONDER_MARGIN,
    about,
)
from operations.watch.scope import Issuer, signed_by

REQUEST = {"Content-Type": "application/ocsp-request"}
UNAUTHORIZED = "unauthorized"
"""The responder knows no such certificate (RFC 6960 section 2.3)."""

_STALE = (
    "see why no new answers are signed: the status process's log, the vault, the clock, the cache in front"
)
_FORGED = "see what answers at this address; clear the cache in front of it"


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of one serial: "good", "revoked" or "unauthorized"; times in POSIX seconds."""

    status: str
    revoked_at: int = 0
    reason: str = ""
    this_update: int = 0
    next_update: int = 0
    responder_ends: int = field(default=0, compare=False)

    @property
    def words(self) -> str:
        return f"{self.status} ({self.reason})" if self.reason else self.status


async def ask(
    fetcher: Fetcher, url: str, issuer: Issuer, serial: int, now: int, *, alike: bool = True
) -> Said:
    """What POST and GET say.  Raises `Wrong`, also when they differ and should be `alike`.

    While a status changes, a cache may for a while hold what GET said before.
    """
    by_post = await fetcher.ask(
        "POST", url, OCSP_OCTETS, body=_request(issuer, serial, hashes.SHA1()), headers=REQUEST
    )
    der = _request(issuer, serial, hashes.SHA256())
    path = quote(base64.b64encode(der).decode(), safe="")
    by_get = await fetcher.get(f"{url}/{path}", OCSP_OCTETS)
    posted, got = (_read(each, issuer, serial, now) for each in (by_post, by_get))
    if not alike:
        return posted
    if (posted.status, posted.reason, posted.revoked_at) != (got.status, got.reason, got.revoked_at):
        raise Wrong(
            f"serial {serial:x}: POST says {posted.words}, GET says {got.words}",
            "a cache in front holds an older answer than it may: see its rules for max-age",
        )
    must_be_quick(by_post, url)
    if got.status != UNAUTHORIZED:
        must_not_be_kept(by_get, "an OCSP answer", got.next_update, now)
    return got


def _request(issuer: Issuer, serial: int, algorithm: hashes.SHA1 | hashes.SHA256) -> bytes:
    name, key = issuer.certificate.subject.public_bytes(), _key_bits(issuer.certificate.public_key())
    hashed = [hashlib.new(algorithm.name, each).digest() for each in (name, key)]
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(hashed[0], hashed[1], serial, algorithm)
    return builder.build().public_bytes(Encoding.DER)


def _key_bits(key: object) -> bytes:
    """The BIT STRING of a SubjectPublicKeyInfo (RFC 6960 section 4.1.1)."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _read(got: Got, issuer: Issuer, serial: int, now: int) -> Said:
    if got.headers.get("Content-Type", "").partition(";")[0] != "application/ocsp-response":
        raise Wrong("the answer is no application/ocsp-response", _FORGED)
    try:
        response = ocsp.load_der_ocsp_response(got.octets)
    except ValueError as error:
        raise Wrong(f"no OCSP response that can be read: {error}", _FORGED) from error
    if response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED:
        return Said(UNAUTHORIZED)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise Wrong(f"serial {serial:x}: the responder says {response.response_status.name}", _STALE)
    try:
        if response.serial_number != serial:
            raise Wrong(
                f"asked for serial {serial:x}, the answer is for {response.serial_number:x}",
                "a cache in front mixes answers up: take it out of the way",
            )
        ends = _must_be_authorized(response, issuer, now)
        said = _said(response, ends)
    except ValueError as error:
        raise Wrong(f"serial {serial:x}: the OCSP answer cannot be read: {error}", _FORGED) from error
    _must_be_fresh(said, serial, now)
    return said


def _said(response: ocsp.OCSPResponse, ends: int) -> Said:
    if response.next_update_utc is None:
        raise Wrong("the OCSP answer has no nextUpdate", _STALE)
    revoked_at = response.revocation_time_utc
    reason = response.revocation_reason
    return Said(
        response.certificate_status.name.lower(),
        0 if revoked_at is None else int(revoked_at.timestamp()),
        "" if reason is None else str(reason.value),
        int(response.this_update_utc.timestamp()),
        int(response.next_update_utc.timestamp()),
        ends,
    )


def _must_be_authorized(response: ocsp.OCSPResponse, issuer: Issuer, now: int) -> int:
    """The end of the responder's certificate (or the issuer's).  RFC 6960 section 4.2.2.2."""
    by = issuer.certificate
    for each in response.certificates[:5]:
        if signed_by(each, issuer.certificate) and _is_responder(each):
            by = each
    key = by.public_key()
    algorithm = response.signature_hash_algorithm
    assert algorithm is not None
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        else:
            raise InvalidSignature
    except InvalidSignature:
        raise Wrong("the OCSP answer is not signed by the issuer or a responder of his", _FORGED) from None
    ends = int(by.not_valid_after_utc.timestamp())
    if ends < now:
        raise Wrong(
            f"the OCSP responder's certificate ended {about(now - ends)} ago",
            "see why the vault did not renew it (vault.responders); with ceremony, hold one",
        )
    return ends


def _is_responder(certificate: x509.Certificate) -> bool:
    try:
        use = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in use


def _must_be_fresh(said: Said, serial: int, now: int) -> None:
    what = f"serial {serial:x}: the OCSP answer"
    age, left = now - said.this_update, said.next_update - now
    life = said.next_update - said.this_update
    if left < 0:
        raise Wrong(f"{what} is out of date: nextUpdate was {about(-left)} ago", _STALE)
    if age < -CLOCKS_DIFFER:
        raise Wrong(f"{what} is from {about(-age)} in the future", "see the clocks, ours and the CA's")
    if not OCSP_VALIDITY_LEAST <= life <= OCSP_VALIDITY:
        raise Wrong(
            f"{what} is valid for {about(life)}: BR 4.9.10 allows eight hours to ten days",
            "set status.ocsp_validity",
        )
    if age > OCSP_AGE:
        raise Wrong(f"{what} is {about(age)} old: BR 4.9.10 asks for a new one after four days", _STALE)
    if said.next_update > said.responder_ends:
        raise Wrong(
            f"{what} outlasts its responder's certificate", "Mozilla's policy 6 forbids it: see the vault"
        )
    if left < (MARGIN if life >= 2 * MARGIN else life / 2):
        raise Wrong(f"{what} ends in {about(left)} and there is no newer one", _STALE)
    if age > life / 2:
        raise Wrong(f"{what} is {about(age)} old, more than half of its life", _STALE, State.WARN)
    if said.responder_ends - now < RESPONDER_MARGIN:
        raise Wrong(
            f"the OCSP responder's certificate ends in {about(said.responder_ends - now)}",
            "see why the vault does not renew it (vault.responders)",
            State.WARN,
        )
