"""The DNSSEC trust anchors of a resolver: read from a file, held against IANA's root keys.

Pure: text in, values out.  A public CA validates "back to the IANA DNSSEC root trust anchor" (BR 3.2.2.4,
3.2.2.8.1) and no other, so production takes a file only when each key in it is one of the root's.

RFC 4034 sections 2 and 5 (DNSKEY, DS), RFC 5011, RFC 9718 (how IANA publishes them).
"""

from __future__ import annotations

from pathlib import Path

import dns.dnssec
import dns.exception
import dns.name
import dns.rdatatype
import dns.zonefile

from core.errors import ConfigurationError

ROOT_KEYS = {
    20326: "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d",  # KSK-2017
    38696: "683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16",  # KSK-2024
}
"""Key tag -> SHA-256 digest (DS digest type 2) of the root's key signing keys.

https://data.iana.org/root-anchors/root-anchors.xml, and the same in Debian's dns-root-data 2024071801.
"""

DEFAULT = "/usr/share/dns/root.key"
"""Debian's package dns-root-data, which its maintainers renew with the root's keys."""

SHA256 = 2
MOST = 65536
"""Characters; the root's two keys take 900."""


def read(file: Path) -> tuple[str, ...]:
    """The anchors in `file`, one DS or DNSKEY line each.  Raises `ConfigurationError`."""
    try:
        text = file.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigurationError(
            f"validation.trust_anchor: cannot read {file} ({error.strerror}); install dns-root-data "
            "(scripts/system-packages run), or name a file of your own"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"validation.trust_anchor: {file} is no text of DNS records") from error
    return parse(text, str(file))


def parse(text: str, origin: str) -> tuple[str, ...]:
    """The anchors in `text`, which came from `origin`.  Raises `ConfigurationError`."""
    try:
        sets = dns.zonefile.read_rrsets(text[:MOST], rdclass=None, default_ttl=0, origin=dns.name.root)
    except dns.exception.DNSException as error:
        raise ConfigurationError(
            f"validation.trust_anchor: {origin} is no file of DNSKEY or DS records ({error}); restore it"
        ) from error
    anchors = []
    for each in sets:
        if each.rdtype not in (dns.rdatatype.DNSKEY, dns.rdatatype.DS):
            kind = dns.rdatatype.to_text(each.rdtype)
            raise ConfigurationError(
                f"validation.trust_anchor: {origin} has a {kind} record; it may have DNSKEY and DS only"
            )
        anchors += [
            f"{each.name} IN {dns.rdatatype.to_text(each.rdtype)} {record.to_text()}" for record in each
        ]
    if not anchors:
        raise ConfigurationError(f"validation.trust_anchor: {origin} has no DNSKEY or DS record; restore it")
    return tuple(anchors)


def require_root(anchors: tuple[str, ...], origin: str) -> None:
    """Require that each anchor is one of IANA's root keys.  Raises `ConfigurationError`."""
    for anchor in anchors:
        (found,) = dns.zonefile.read_rrsets(anchor, rdclass=None, default_ttl=0, origin=dns.name.root)
        record = found[0]
        if found.rdtype == dns.rdatatype.DNSKEY:
            record = dns.dnssec.make_ds(found.name, record, "SHA256")
        if (
            found.name != dns.name.root
            or record.digest_type != SHA256
            or ROOT_KEYS.get(record.key_tag) != record.digest.hex()
        ):
            raise ConfigurationError(
                f"validation.trust_anchor: {origin} trusts the key {record.key_tag} of {found.name}, "
                "which is none of IANA's root keys; a public CA in production validates to the IANA root "
                f"only (BR 3.2.2.8.1): use {DEFAULT} of the package dns-root-data"
            )
