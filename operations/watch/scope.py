"""What there is to look at: read from the repository, believed as far as the pinned trust anchor reaches.

The anchor is the one thing that the watch is told from elsewhere (a file or a fingerprint).  Issuers count
when it, or one of them, signed them; the rest of the list are URLs to be tried.

Must never: take a trust anchor from the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import ConfigurationError
from operations.watch.fetch import Fetcher
from operations.watch.finding import Wrong, plain
from operations.watch.signed import Manifest, read

SIGNED = "manifest.jws"
MOST_ISSUERS = 50
MOST_CRLS = 2000
MOST_SITES = 60

_ELSEWHERE = (
    "publish it again from the CA's data directory (a start of the CA does), and find out who changed it"
)


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA certificate below the anchor, or the anchor itself (`root`); `crls` are its CRLs' URLs.

    `answered`: OCSP knows its certificates.
    """

    id: str
    certificate: x509.Certificate
    crls: tuple[str, ...]
    root: bool = False
    answered: bool = False


@dataclass(frozen=True, slots=True)
class SiteListed:
    """A test site; `status` is valid, revoked or expired."""

    status: str
    family: str
    url: str


@dataclass(frozen=True, slots=True)
class Scope:
    """All that is to be looked at."""

    repository: str
    anchor: x509.Certificate
    issuers: tuple[Issuer, ...]
    ocsp: str
    acme_directory: str
    documents: tuple[str, ...]
    sites: tuple[SiteListed, ...]
    manifest: Manifest

    def issuer_of(self, certificate: x509.Certificate) -> Issuer:
        """Who signed it.  Raises `Wrong` when none of ours did."""
        for each in self.issuers:
            if signed_by(certificate, each.certificate):
                return each
        raise Wrong(
            f"serial {certificate.serial_number:x} is signed by none of the published issuers",
            "see who issued it; publish the missing issuer",
        )


@dataclass(frozen=True, slots=True)
class Anchor:
    """The pin: a certificate, or the SHA-256 of one (lower-case hexadecimal)."""

    fingerprint: str
    certificate: x509.Certificate | None = None

    @classmethod
    def read(cls, text: str) -> Anchor:
        """From `sha256:HEX` or a file (PEM or DER).  Raises `ConfigurationError`."""
        kind, _, value = text.partition(":")
        if kind.lower() == "sha256":
            digits = value.replace(":", "").lower()
            if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
                raise ConfigurationError(f"--anchor {text}: write sha256: and 64 hexadecimal digits")
            return cls(digits)
        try:
            octets = Path(text).read_bytes()
            load = (
                x509.load_pem_x509_certificate if b"-----BEGIN" in octets else x509.load_der_x509_certificate
            )
            found = load(octets)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"--anchor {text}: {error}; name the trust anchor's file, or its fingerprint as sha256:HEX"
            ) from error
        return cls(digest(found), found)


async def discover(fetcher: Fetcher, repository: str, anchor: Anchor, manifest_key: str = "") -> Scope:
    """Read the manifest.  `manifest_key` is a thumbprint, "" for any.  Raises `Wrong`."""
    url = f"{repository}/{SIGNED}"
    manifest = read((await fetcher.get(url, 16 << 20)).octets, manifest_key)
    listed = _member(manifest.said, "trust_anchor", dict, url)
    root = await _anchor(fetcher, listed, anchor)
    issuers = [Issuer("root", root, _urls(listed.get("crls"), MOST_CRLS), root=True)]
    for each in _member(manifest.said, "issuers", list, url)[:MOST_ISSUERS]:
        if isinstance(each, dict):
            issuers.append(await _issuer(fetcher, each, issuers))
    terms = manifest.said.get("terms")
    policy = terms.get("url") if isinstance(terms, dict) else None
    return Scope(
        repository,
        root,
        tuple(issuers),
        str(manifest.said.get("ocsp", "")),
        str(manifest.said.get("acme_directory", "")),
        tuple(each for each in (f"{repository}/", policy) if isinstance(each, str)),
        tuple(_sites(manifest.said.get("test_sites"))),
        manifest,
    )


def digest(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, lower-case hexadecimal."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def signed_by(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    """Whether `by` names and signs it."""
    try:
        certificate.verify_directly_issued_by(by)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


async def _anchor(fetcher: Fetcher, listed: Mapping[str, Any], anchor: Anchor) -> x509.Certificate:
    url, _ = _file(listed)
    found = _certificate((await fetcher.get(url)).octets, url)
    if digest(found) != anchor.fingerprint:
        raise Wrong(
            f"{url}: the published trust anchor is another one than the pinned: SHA-256 {digest(found)}, "
            f"pinned {anchor.fingerprint}",
            f"trust nothing that is published there now; {_ELSEWHERE}",
        )
    return found


async def _issuer(fetcher: Fetcher, each: Mapping[str, Any], known: list[Issuer]) -> Issuer:
    url, said = _file(each)
    name = plain(str(each.get("id", "")), 40)
    found = _certificate((await fetcher.get(url)).octets, url)
    if not any(signed_by(found, by.certificate) for by in known):
        raise Wrong(
            f"{url}: issuer {name} is signed neither by the trust anchor nor by an issuer below it",
            _ELSEWHERE,
        )
    if said != digest(found):
        raise Wrong(f"{url}: issuer {name} has another SHA-256 than the manifest says", _ELSEWHERE)
    return Issuer(name, found, _urls(each.get("crls"), MOST_CRLS), answered=bool(each.get("ocsp")))


def _file(of: Mapping[str, Any]) -> tuple[str, str]:
    """URL and SHA-256 of the certificate of a part of the manifest."""
    named = of.get("certificate")
    if not isinstance(named, dict):
        raise Wrong("the manifest names a CA without its certificate", _ELSEWHERE)
    return str(named.get("url", "")), str(named.get("sha256", ""))


def _certificate(octets: bytes, url: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(octets)
    except ValueError as error:
        raise Wrong(f"{url}: no certificate in DER", _ELSEWHERE) from error


def _member(of: Mapping[str, Any], name: str, kind: type, url: str) -> Any:
    found = of.get(name)
    if not isinstance(found, kind):
        raise Wrong(f"{url}: it has no {name}", _ELSEWHERE)
    return found


def _urls(found: object, most: int) -> tuple[str, ...]:
    listed = found if isinstance(found, list) else []
    return tuple(each for each in listed[:most] if isinstance(each, str))


def _sites(found: object) -> list[SiteListed]:
    listed = found if isinstance(found, list) else []
    return [
        SiteListed(*(plain(str(each.get(name, ""))) for name in ("status", "family", "url")))
        for each in listed[:MOST_SITES]
        if isinstance(each, dict)
    ]
