"""The issuing CAs as the sealed hierarchy tells of them: their lives, and their chains to each trust anchor.

No token is needed for it, so a locked vault describes itself, too.

Must never: tell of a chain that does not verify.

RFC 8555 section 7.4.2 (alternate chains); RFC 6960 section 4.1.1 (CertID); BR 7.1.2.2 (cross-certificates).
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import HaltIssuance
from core.settings import Settings
from signer.api import IssuerInfo
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed.seal import Hierarchy, SealedIssuer


def issuers(hierarchy: Hierarchy, settings: Settings) -> tuple[IssuerInfo, ...]:
    """Every issuing CA that was ever sealed, destroyed ones too: their certificates are still asked for."""
    return tuple(_info(hierarchy, each, settings) for each in hierarchy.issuers)


def alternates(hierarchy: Hierarchy, issuer: SealedIssuer) -> tuple[tuple[bytes, ...], ...]:
    """The chains of `issuer` by cross-certificates, in the order in which these were sealed.

    A cross-certificate of the issuer's own key takes the place of its certificate; one of the root's key
    stands between.  The last of each chain is the other CA's certificate.  Raises `HaltIssuance` for a
    cross-certificate of another key than it says.
    """
    return tuple(_alternates(hierarchy, issuer))


def _alternates(hierarchy: Hierarchy, issuer: SealedIssuer) -> Iterator[tuple[bytes, ...]]:
    for cross in hierarchy.cross:
        if cross.subject == hierarchies.ROOT_ID:
            _must_fit(cross.certificate, hierarchy.root, cross.issuer)
            yield issuer.certificate, cross.certificate, cross.issuer
        elif cross.subject == issuer.id:
            _must_fit(cross.certificate, issuer.certificate, cross.issuer)
            yield cross.certificate, cross.issuer


def _must_fit(cross: bytes, ours: bytes, other: bytes) -> None:
    """The cross-certificate names our subject and key, and the other CA signed it (BR 7.1.2.2)."""
    certificate, own = x509.load_der_x509_certificate(cross), x509.load_der_x509_certificate(ours)
    if certificate.subject != own.subject or _spki(certificate) != _spki(own):
        raise HaltIssuance(
            f"a sealed cross-certificate is for another key or name than {own.subject.rfc4514_string()}"
        )
    try:
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(other))
    except Exception as error:
        raise HaltIssuance("a sealed cross-certificate was not signed by the CA that it names") from error


def _info(hierarchy: Hierarchy, sealed: SealedIssuer, settings: Settings) -> IssuerInfo:
    issuer = hierarchies.authority(settings, sealed.id, sealed.certificate)
    return IssuerInfo(
        id=sealed.id,
        use=sealed.use,
        algorithm=sealed.algorithm,
        certificate=sealed.certificate,
        chain=(sealed.certificate, hierarchy.root),
        name_sha1=issuer.name_hash("sha1"),
        key_sha1=issuer.key_hash("sha1"),
        name_sha256=issuer.name_hash("sha256"),
        key_sha256=issuer.key_hash("sha256"),
        state=sealed.state,
        since=sealed.since,
        until=sealed.until,
        alternates=alternates(hierarchy, sealed),
    )


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
