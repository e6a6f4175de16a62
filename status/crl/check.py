"""What the vault signed is looked at once more, as a stranger would, before it becomes public.

The entries were compared with the register when they were encoded (entries.py); here they are compared, octet
by octet, with what stands in the CRL.  So a million of them cost a hundredth of a second, and not the two
seconds that reading them takes (docs/adr/0035).

Must never: let a CRL pass that is not the one asked for.

RFC 5280 sections 5.1, 5.2.3, 5.2.5; BR 7.2 (extensions), 7.2.2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from core.errors import Refused
from signer.api import CrlRequest
from status.crl.parts import Parts, taken_apart
from status.crl.scopes import Scope

MAX_OCTETS = 128 * 1024 * 1024
"""No CRL is longer: three million entries.  Long before, `status.crl_size` calls for more shards."""


def number_of(content: bytes) -> int:
    """The CRLNumber of a CRL."""
    return _number(taken_apart(content).frame())


def distribution_point(content: bytes) -> tuple[bool, bytes] | None:
    """The issuingDistributionPoint of a CRL, as `Scope.distribution_point` has it."""
    return _distribution_point(taken_apart(content).frame())


def check(
    content: bytes, request: CrlRequest, scope: Scope, base_url: str, entries: Sequence[bytes] = ()
) -> None:
    """Check that a signed CRL is the one asked for, and of the scope under whose URL it will stand.

    `entries` are the octets of its blocks.  Raises: `Refused` with the first difference found; nothing may be
    published then.
    """
    try:
        if len(content) > MAX_OCTETS:
            raise ValueError(f"it has more than {MAX_OCTETS} octets: raise status.crl_shards")
        parts = taken_apart(content)
        crl = parts.frame()
        issuer = x509.load_der_x509_certificate(scope.issuer_certificate)
        found: dict[str, tuple[object, object]] = {
            "issuer": (crl.issuer, issuer.subject),
            "signature": (_is_signed(parts, crl, issuer), True),
            "number": (_number(crl), request.number),
            "scope": (_distribution_point(crl), scope.distribution_point(base_url)),
            "extensions": (
                {each.oid for each in crl.extensions} - {x509.IssuingDistributionPoint.oid},
                {x509.AuthorityKeyIdentifier.oid, x509.CRLNumber.oid},
            ),
            "thisUpdate": (int(crl.last_update_utc.timestamp()), request.this_update),
            "nextUpdate": (
                None if crl.next_update_utc is None else int(crl.next_update_utc.timestamp()),
                request.next_update,
            ),
            "entries": (_are(parts.entries, entries), True),
        }
    except (ValueError, IndexError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise _mismatch(request, f"it cannot be read: {error}") from error
    for what, (said, wanted) in found.items():
        if said != wanted:
            short = "they differ" if what == "entries" else f"{said!r} instead of {wanted!r}"
            raise _mismatch(request, f"{what}: {short}")


def _mismatch(request: CrlRequest, what: str) -> Refused:
    return Refused("status.crl-mismatch", f"{request.issuer_id}-{request.shard} CRL, {what}")


def _is_signed(parts: Parts, crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key, algorithm = issuer.public_key(), crl.signature_hash_algorithm
    if algorithm is None:
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(crl.signature, _octets(parts.tbs), padding.PKCS1v15(), algorithm)
            return True
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(crl.signature, _octets(parts.tbs), ec.ECDSA(algorithm))
            return True
    except InvalidSignature:
        pass
    return False


def _octets(view: memoryview) -> bytes:
    """What `cryptography` takes for octets, too; a copy would be of 45 MB."""
    return cast(bytes, view)


def _distribution_point(crl: x509.CertificateRevocationList) -> tuple[bool, bytes] | None:
    """Whether the issuingDistributionPoint is critical, and its DER; None when the CRL has none."""
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    except x509.ExtensionNotFound:
        return None
    return point.critical, point.value.public_bytes()


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _are(octets: memoryview, blocks: Sequence[bytes]) -> bool:
    """Whether these are the blocks in a row, and nothing else."""
    at = 0
    for block in blocks:
        if octets[at : at + len(block)] != block:
            return False
        at += len(block)
    return at == len(octets)
