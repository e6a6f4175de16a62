"""Writes the public tree: issuers, trust anchor and the index page (documents/ writes the CP/CPS).

Called by the app at start, and for the index after each CRL.  Certificates are added once and never change;
pages are replaced.

Must never: publish something that the hierarchy or the settings do not say.

RFC 5280 section 4.2.2.1 (issuers in DER); RFC 3647 (the CP/CPS); BR 2.2; CP/CPS 2.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core import sites
from core.repository_checks import maintenance
from core.settings import Settings
from repo_static import picture, rendering, roster
from repo_static.crls import public_crls
from repo_static.rendering import base_url, day, render
from repo_static.store import NotPublished, Store

ROOT_ID = roster.ROOT_ID
"""The issuing CAs' certificates point to /issuers/root.crt and /crl/root-0.crl."""

AS_THEY_ARE = ("style.css", "pages.js", "manifest.schema.json")
"""Files of content/ that are public as they stand."""

_log = logging.getLogger(__name__)


class Hierarchy(Protocol):
    """The certificates to publish (`signer.api.Description` has them)."""

    @property
    def root(self) -> bytes: ...
    @property
    def root_crl(self) -> bytes: ...
    @property
    def issuers(self) -> tuple[roster.Issuer, ...]: ...


def publish(store: Store, hierarchy: Hierarchy, settings: Settings) -> list[str]:
    """Write the whole tree but the CRLs; the names of the files that changed.

    Raises: `NotPublished` when a certificate would change.
    """
    changed = [name for name, content in _certificates(hierarchy) if store.add(name, content)]
    changed += _root_crl(store, hierarchy.root_crl)
    changed += _replace(store, {name: (rendering.CONTENT / name).read_text() for name in AS_THEY_ARE})
    return changed + publish_index(store, hierarchy, settings)


def publish_index(store: Store, hierarchy: Hierarchy, settings: Settings) -> list[str]:
    """Write the index pages from the hierarchy and the CRLs that are public now."""
    issuers = [
        {
            "id": each.id,
            "use": str(each.use),
            "public": each.use == "issuing",
            "state": str(each.state),
            **certificate_facts(each.certificate),
        }
        for each in sorted(hierarchy.issuers, key=lambda each: (each.use != "issuing", each.id))
    ]
    root = certificate_facts(hierarchy.root)
    pages = {}
    for name, language in (("index.html", "en"), ("ja/index.html", "ja")):
        if issuers:
            pages[name] = render(
                "index.html.j2",
                language,
                example=issuers[0],
                settings=settings,
                root=root,
                issuers=issuers,
                crls=public_crls(store),
                minute=_minute,
                maintenance=[_minute(int(each.timestamp())) for each in maintenance(settings)],
                base=base_url(settings),
                sites=sites.sites(settings),
                picture=picture.hierarchy(root, issuers, rendering.words()[language]),
            )
    return _replace(store, pages)


def certificate_facts(der: bytes) -> dict[str, str]:
    """What a page says of a certificate, as text."""
    certificate = x509.load_der_x509_certificate(der)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "algorithm": _key_text(certificate.public_key()),
        "not_before": day(certificate.not_valid_before_utc),
        "not_after": day(certificate.not_valid_after_utc),
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    }


def crl_number(der: bytes) -> int:
    """The CRLNumber of a CRL."""
    crl = x509.load_der_x509_crl(der)
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _certificates(hierarchy: Hierarchy) -> list[tuple[str, bytes]]:
    files = []
    for name in ("trust-anchor", f"issuers/{ROOT_ID}"):
        files += [(f"{name}.crt", hierarchy.root), (f"{name}.pem", _pem(hierarchy.root))]
    for issuer in hierarchy.issuers:
        name = f"issuers/{issuer.id}"
        files.append((f"{name}.crt", issuer.certificate))
        files.append((f"{name}.pem", _pem(issuer.certificate)))
    return [*files, *roster.files(hierarchy.issuers).items()]


def _root_crl(store: Store, content: bytes) -> list[str]:
    """Publish the CRL that the last ceremony signed, unless what is public is newer."""
    name = f"crl/{ROOT_ID}-0.crl"
    if not content:
        return []

    def newer(published: bytes | None) -> None:
        if published is not None and published != content and crl_number(published) >= crl_number(content):
            raise NotPublished(
                f"{name}: the vault tells number {crl_number(content)}, but {crl_number(published)} is "
                "public: its hierarchy file is older than the last ceremony, restore the newest one"
            )

    try:
        return [name] if store.replace(name, content, newer) else []
    except NotPublished as error:
        _log.error("%s", error)  # what is public stays, and is the better one
        return []


def _replace(store: Store, pages: dict[str, str]) -> list[str]:
    return [name for name, text in pages.items() if store.replace(name, text.encode())]


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _key_text(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    # The NIST curves are known to people by their size; RFC 5480 names them secp256r1 and so on.
    return f"ECDSA P-{key.key_size}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def _minute(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
