"""What the vault signed is looked at once more, as a stranger would, before it becomes public.

Must never: let a CRL pass that is not the one asked for.

RFC 5280 sections 5.1, 5.2.3, 5.2.5; BR 7.2.2.1.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.errors import Refused
from signer.api import CrlRequest
from status.crl.scopes import Scope


def number_of(der: bytes) -> int:
    """The CRLNumber of a CRL."""
    return _number(x509.load_der_x509_crl(der))


def check(der: bytes, request: CrlRequest, scope: Scope, base_url: str) -> None:
    """Check that a signed CRL is the one asked for, and of the scope under whose URL it will stand.

    Raises: `Refused` with the first difference found; nothing may be published then.
    """
    crl = x509.load_der_x509_crl(der)
    issuer = x509.load_der_x509_certificate(scope.issuer_certificate)
    key = issuer.public_key()
    assert isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
    found: dict[str, tuple[object, object]] = {
        "issuer": (crl.issuer, issuer.subject),
        "signature": (crl.is_signature_valid(key), True),
        "number": (_number(crl), request.number),
        # BR 7.2.2.1: a shard names its own URL, octet for octet; a full CRL names none.
        "scope": (
            _distribution_point(crl),
            f"{base_url.rstrip('/')}/{scope.name}" if scope.shards > 1 else None,
        ),
        "thisUpdate": (int(crl.last_update_utc.timestamp()), request.this_update),
        "nextUpdate": (
            None if crl.next_update_utc is None else int(crl.next_update_utc.timestamp()),
            request.next_update,
        ),
        "entries": (
            sorted((entry.serial_number, int(entry.revocation_date_utc.timestamp())) for entry in crl),
            sorted((int.from_bytes(e.serial, "big", signed=True), e.revoked_at) for e in request.entries),
        ),
    }
    for what, (said, wanted) in found.items():
        if said != wanted:
            short = "they differ" if what == "entries" else f"{said!r} instead of {wanted!r}"
            raise Refused("status.crl-mismatch", f"{request.issuer_id}-{request.shard} CRL, {what}: {short}")


def _distribution_point(crl: x509.CertificateRevocationList) -> str | None:
    """The URL in the issuingDistributionPoint, None when the CRL has none."""
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return None
    return ", ".join(name.value for name in point.full_name or [])


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
