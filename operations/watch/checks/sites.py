"""Test sites: does each show what its name says, to somebody who trusts the pinned anchor alone?

Mozilla's reading of BR 2.2: valid is neither expired nor revoked, revoked is not expired, expired is not
revoked.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from operations.watch.finding import Wrong, plain
from operations.watch.limits import TEST_SITE_MARGIN, about
from operations.watch.scope import Scope, SiteListed

EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED."""

_SITES = 'see the log of the sites\' process (sites.log), and docs/operations.md, "Test sites"'


@dataclass(frozen=True, slots=True)
class Shown:
    """What a site shows: its leaf, and OpenSSL's verdict (0: it verifies)."""

    leaf: x509.Certificate
    verdict: int
    words: str


async def visit(site: SiteListed, scope: Scope, addresses: dict[str, str], patience: float) -> Shown:
    """The certificate, and whether it verifies up to the anchor.  Raises `Wrong` when nobody is there."""
    anchor = scope.anchor.public_bytes(Encoding.PEM).decode()
    host = urlsplit(site.url).hostname or ""
    address = addresses.get(host) or ("127.0.0.1" if host.endswith(".localhost") else host)
    leaf, _, words = await _shake(site, ssl._create_unverified_context(), address, patience)
    if leaf is None:
        raise Wrong(f"no TLS: {words}", _SITES)
    _, verdict, words = await _shake(site, ssl.create_default_context(cadata=anchor), address, patience)
    return Shown(x509.load_der_x509_certificate(leaf), verdict, words)


def judge(site: SiteListed, shown: Shown, now: int) -> str:
    """What the certificate itself says; its revocation is asked elsewhere.  Raises `Wrong`."""
    leaf, left = shown.leaf, int(shown.leaf.not_valid_after_utc.timestamp()) - now
    serial = f"serial {leaf.serial_number:x}"
    if site.status == "expired":
        if left >= 0:
            raise Wrong(f"{serial} has not expired: {about(left)} are left", _SITES)
        if shown.verdict not in (0, EXPIRED):
            raise Wrong(f"{serial} is wrong besides having expired: {shown.words}", _SITES)
        return f"{serial}, expired {about(-left)} ago"
    if left < 0:
        raise Wrong(
            f"{serial} expired {about(-left)} ago: the site should show one that is {site.status}", _SITES
        )
    if shown.verdict:
        raise Wrong(f"{serial} does not verify up to the trust anchor: {shown.words}", _SITES)
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if left < min(TEST_SITE_MARGIN, life.total_seconds() / 4):
        raise Wrong(f"{serial} ends in {about(left)} and was not renewed", _SITES)
    return f"{serial}, ends in {about(left)}"


def must_be(site: SiteListed, said: str, by: str) -> None:
    """What `by` ("OCSP", "the CRL") said fits the site.  Raises `Wrong`."""
    wanted = "revoked" if site.status == "revoked" else "good"
    if said != wanted:
        raise Wrong(f"{by} says {said} of the {site.status} site's certificate", _SITES)


async def _shake(
    site: SiteListed, context: ssl.SSLContext, address: str, patience: float
) -> tuple[bytes | None, int, str]:
    parts = urlsplit(site.url)
    try:
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(
                address, parts.port or 443, ssl=context, server_hostname=parts.hostname, limit=8192
            )
    except ssl.SSLCertVerificationError as error:
        return None, error.verify_code, plain(error.verify_message)
    except TimeoutError:
        return None, -1, f"no handshake within {patience:g} s"
    except (OSError, ValueError) as error:
        return None, -1, plain(str(error))
    leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return leaf, 0, ""
