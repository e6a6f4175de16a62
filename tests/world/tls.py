"""TLS contexts for tls-alpn-01, right and wrong in every way: the asked server name says which.

RFC 8737 section 3: a self-signed certificate, one dNSName, one critical acmeIdentifier with the digest of the
key authorization, and the protocol "acme-tls/1".
"""

from __future__ import annotations

import ipaddress
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import tls
from tests.world.addresses import INTERNET
from tests.world.applicant import TOKEN

ACME = (tls.ALPN,)

_REVERSE = ipaddress.ip_address(INTERNET.web).reverse_pointer


@dataclass(frozen=True, slots=True)
class Site:
    """A TLS host: the certificate it shows for its name, and the protocols it speaks.

    `extension` makes the value of acmeIdentifier from the right digest, or None for none.  `signed_by_itself`
    is whether its own key signs, `own_name_as_issuer` whether the issuer says so.
    """

    protocols: tuple[str, ...] = ACME
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    no_name: bool = False
    no_dns_name: bool = False
    extension: Callable[[bytes], bytes | None] = field(default=lambda digest: b"\x04\x20" + digest)
    critical: bool = True
    signed_by_itself: bool = True
    own_name_as_issuer: bool = True
    expired: bool = False


SITES = {
    "alpn-right": Site(),
    "alpn-expired": Site(expired=True),
    "alpn-wrong-digest": Site(extension=lambda digest: b"\x04\x20" + bytes(32)),
    "alpn-short-digest": Site(extension=lambda digest: b"\x04\x10" + digest[:16]),
    "alpn-bare-digest": Site(extension=lambda digest: digest),
    "alpn-digest-and-more": Site(extension=lambda digest: b"\x04\x20" + digest + b"\x05\x00"),
    "alpn-no-extension": Site(extension=lambda digest: None),
    "alpn-not-critical": Site(critical=False),
    "alpn-wrong-name": Site(names=("other.hostile.com",)),
    "alpn-two-names": Site(names=("alpn-two-names.hostile.com", "other.hostile.com")),
    "alpn-name-and-address": Site(names=("alpn-name-and-address.hostile.com",), addresses=("11.80.0.1",)),
    "alpn-wildcard": Site(names=("*.hostile.com",)),
    "alpn-no-name": Site(no_name=True),
    "alpn-signed-by-another": Site(signed_by_itself=False),
    "alpn-issued-by-another": Site(signed_by_itself=False, own_name_as_issuer=False),
    "alpn-other-protocol": Site(protocols=("h2", "http/1.1")),
    "alpn-no-protocol": Site(protocols=()),
    # A shared host: the right protocol by chance, but the certificate is everybody's.
    "alpn-default-vhost": Site(names=("shared.hostile.com",), extension=lambda digest: None),
}


def by_name(thumbprint: str) -> ssl.SSLContext:
    """The context that shows each of `SITES` its own certificate, and an ordinary one to all other names."""
    digest = sha256(f"{TOKEN}.{thumbprint}".encode()).digest()
    ordinary = Site(protocols=("http/1.1",), extension=lambda digest: None)
    default = _context(ordinary, "www.hostile.com", digest)
    made: dict[str, ssl.SSLContext] = {}

    def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        label = (name or "").partition(".")[0]
        if name == _REVERSE:
            connection.context = _context(Site(addresses=(INTERNET.web,), no_dns_name=True), name, digest)
        if label == "alpn-alert":
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if label in SITES and name is not None:
            if name not in made:
                made[name] = _context(SITES[label], name, digest)
            connection.context = made[name]
        return None

    default.sni_callback = choose
    return default


def old() -> ssl.SSLContext:
    """TLS 1.1 and nothing newer."""
    context = _context(Site(protocols=()), "tls11.hostile.com", bytes(32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _context(site: Site, name: str, digest: bytes) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    shown: tuple[str, ...] = ()
    if not site.no_name:
        shown = (*(() if site.no_dns_name else site.names or (name,)), *site.addresses)
    value = site.extension(digest)
    extensions = [] if value is None else [(tls.octets(value), site.critical)]
    made = tls.certificate(
        tls.names(*shown),
        *extensions,
        key=key,
        signed_by=None if site.signed_by_itself else tls.OTHER_KEY,
        issuer=None if site.own_name_as_issuer else "another",
        age=400 if site.expired else 0,
    )
    return tls.context(tls.der(made), key, site.protocols)
