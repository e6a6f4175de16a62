"""What others than the register say of a serial number: a CRL, an OCSP answer, a certificate, the audit log.

Each is believed only where our own issuer's signature, or the audit log's chain, holds it.

Must never: believe a file for where it came from.

RFC 5280 sections 5.1 and 5.3; RFC 6960 section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from core import revocations
from core.audit import Head
from core.database import Rows
from core.der import integer_content
from core.errors import Refused
from core.issuers import issuers
from core.unreadable import UNREADABLE
from status.crl import forgotten, scopes
from status.crl.check import number_of
from status.crl.parts import taken_apart
from status.crl.scopes import Scope
from status.ocsp.issuers import certid_hashes, not_after


@dataclass(frozen=True, slots=True)
class Said:
    """`revoked_at` is None where somebody only says that the certificate exists; times are POSIX seconds.

    `names`, `profile` and `until` (its notAfter) are known from an audit record alone; without one a
    certificate counts as long as its issuer lives.
    """

    serial: bytes
    issuer_id: str
    shard: int
    revoked_at: int | None
    reason: int
    until: int
    names: tuple[str, ...] = ()
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Crl:
    """A CRL of ours: its scope, its number, and what it says."""

    scope: Scope
    number: int
    this_update: int
    said: tuple[Said, ...]


def crl(known: Sequence[Scope], der: bytes) -> Crl:
    """A DER CRL of one of the `known` scopes.  Raises `Refused`."""
    try:
        number = number_of(taken_apart(der))
        loaded = x509.load_der_x509_crl(der)
        issuer = loaded.issuer.rfc4514_string()
        for scope in known:
            if _is_of(loaded, scope) and loaded.is_signature_valid(_key(scope.issuer_certificate)):
                until = not_after(scope.issuer_certificate)
                said = tuple(
                    Said(each.serial, scope.issuer_id, scope.shard, each.revoked_at, each.reason, until)
                    for each in forgotten.entries_of(loaded)
                )
                return Crl(scope, number, int(loaded.last_update_utc.timestamp()), said)
    except UNREADABLE as error:
        raise Refused("outside.crl", f"this is no CRL in DER ({error}): fetch it again") from error
    raise Refused(
        "outside.crl-foreign",
        f"the CRL of {issuer} is signed by no issuing CA of this register, or is of "
        "a shard that it does not have: start the CA once with its newest vault, which names the issuers",
    )


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of ours: that it was issued, and what it says of itself."""

    said: Said
    spki: bytes
    not_before: int


def issued(rows: Rows, der: bytes) -> Issued:
    """A DER certificate, or precertificate, that one of our issuers signed.  Raises `Refused`."""
    try:
        loaded = x509.load_der_x509_certificate(der)
        spki = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        serial = integer_content(loaded.serial_number)
        begins, until = (
            int(at.timestamp()) for at in (loaded.not_valid_before_utc, loaded.not_valid_after_utc)
        )
        for issuer in issuers(rows):
            if _signed(issuer.certificate, loaded):
                shard = scopes.named_by(loaded, issuer.id) or 0  # a short-lived one names none
                return Issued(Said(serial, issuer.id, shard, None, 0, until), spki, begins)
    except UNREADABLE as error:
        raise Refused("outside.certificate", f"this is no certificate of ours: {error}") from error
    raise Refused(
        "outside.certificate-foreign", "the certificate is signed by no issuing CA of this register"
    )


def certificate(rows: Rows, der: bytes, revoked_at: int) -> tuple[Said, bytes]:
    """A DER certificate that one of our issuers signed, and its DER SubjectPublicKeyInfo.

    What is said is that its key is compromised, which the caller has seen proven.  Raises `Refused`.
    """
    found = issued(rows, der)
    return replace(found.said, revoked_at=revoked_at, reason=revocations.KEY_COMPROMISE), found.spki


def _signed(issuer: bytes, loaded: x509.Certificate) -> bool:
    try:
        loaded.verify_directly_issued_by(x509.load_der_x509_certificate(issuer))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_of(loaded: x509.CertificateRevocationList, scope: Scope) -> bool:
    """Whether issuer and issuingDistributionPoint are the scope's; whose signature it is must be seen yet."""
    if loaded.issuer != x509.load_der_x509_certificate(scope.issuer_certificate).subject:
        return False
    try:
        point = loaded.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        # A full CRL; since there are more shards the first of them goes on with its URL and its certificates.
        return scope.shard == 0
    names = [str(name.value) for name in point.full_name or ()]
    return any(name.endswith(f"/{scope.name}") for name in names)


def answer(rows: Rows, der: bytes) -> Said:
    """A DER OCSPResponse that was signed for one of our issuers.  Raises `Refused`."""
    try:
        response = ocsp.load_der_ocsp_response(der)
        hash_name = response.hash_algorithm.name
        asked = (hash_name, response.issuer_name_hash, response.issuer_key_hash)
    except UNREADABLE as error:
        raise Refused("outside.ocsp", f"this is no successful OCSP answer in DER: {error}") from error
    for row in rows.all("SELECT id, certificate FROM issuers"):
        if asked in certid_hashes(row["certificate"]):
            _must_be_signed(response, row["certificate"])
            revoked_at = response.revocation_time_utc
            number = response.serial_number
            return Said(
                number.to_bytes(number.bit_length() // 8 + 1),
                row["id"],
                0,
                None if revoked_at is None else int(revoked_at.timestamp()),
                forgotten.code_of(response.revocation_reason),
                not_after(row["certificate"]),
            )
    raise Refused("outside.ocsp-foreign", "the OCSP answer is of no issuing CA of this register")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest tells of its register; `crls` are (issuer, shard, number, SHA-256).

    `days` is the member of that name (status/restored/lists.py).
    """

    this_update: int
    version: int
    audit: Head
    crls: tuple[tuple[str, int, int, str], ...]
    days: dict[str, Any]


def manifest(content: bytes) -> Manifest:
    """A manifest's JSON, which somebody else has to believe or not.  Raises `Refused`."""
    try:
        said = msgspec.json.decode(content)
        register = said["register"]
        return Manifest(
            int(datetime.fromisoformat(said["this_update"]).timestamp()),
            int(register["revocation_version"]),
            Head(int(register["audit"]["sequence"]), bytes.fromhex(register["audit"]["hash"])),
            tuple(
                (str(e["issuer"]), int(e["shard"]), int(e["number"]), str(e["sha256"])) for e in said["crls"]
            ),
            dict(said.get("days", {})),
        )
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise Refused("outside.manifest", f"this is no manifest of ours: {error}") from error


def record(content: dict[str, Any], known: Said | None, until: int) -> Said:
    """What the audit record of a revocation says; `known` is what records of its issuance told."""
    return Said(
        bytes.fromhex(content["serial"]),
        str(content["issuer"]),
        int(content.get("shard", known.shard if known else 0)),
        int(content["revoked_at"]),
        int(content["reason"]),
        int(content.get("not_after", known.until if known else until)),
        known.names if known else (),
        known.profile if known else "",
    )


def _must_be_signed(response: ocsp.OCSPResponse, issuer_der: bytes) -> None:
    """RFC 6960 section 4.2.2.2: by the issuer, or by a responder that it delegated; whenever that was."""
    issuer = x509.load_der_x509_certificate(issuer_der)
    signer = next(iter(response.certificates), issuer)
    try:
        if signer != issuer:
            signer.verify_directly_issued_by(issuer)
            usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
                raise ValueError("its signer is no OCSP responder")
        _verify(signer, response)
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise Refused("outside.ocsp-signature", f"the OCSP answer is not signed for us: {error}") from error


def _verify(signer: x509.Certificate, response: ocsp.OCSPResponse) -> None:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    data = response.tbs_response_bytes
    if algorithm is None or isinstance(algorithm, hashes.SHA1):
        raise ValueError("its signature is of no algorithm that we use")
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(response.signature, data, ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(response.signature, data, padding.PKCS1v15(), algorithm)
    else:
        raise ValueError("its signer's key is of no kind that we use")


def _key(der: bytes) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
    return key
