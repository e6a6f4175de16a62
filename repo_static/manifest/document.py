"""What the manifest says: every file that counts, its digest, and how it all hangs together.

The dictionary's members and their meaning are described for strangers in docs/relying-parties.md, and by the
JSON Schema in repo_static/content/manifest.schema.json; a test holds all three together.

Must never: name what is not public at that moment.

CCADB policy 6.2 (CRL URLs); BR 2.2, 4.10; RFC 5280 sections 5.2.3, 5.2.5; docs/adr/0037.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509

from core import sites
from core.database import Rows
from core.issuers import key_id
from core.settings import Settings
from repo_static import roster
from repo_static.crls import Crl, public_crls
from repo_static.manifest.lists import iso
from repo_static.rendering import base_url
from repo_static.store import Store

FORMAT = 1
"""Rises when a member changes its meaning; members may be added at any time."""

_EDITION = re.compile(
    r"(?:cps|terms)/(?P<name>[a-z-]+?)-(?P<version>\d[\w.]*?)\.(?P<language>[a-z]{2})\.(?P<format>[a-z]+)"
)


class Tree:
    """Reads what is public."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def crls(self) -> list[Crl]:
        """Every public CRL, by issuer and shard."""
        return public_crls(self._store)

    def file(self, name: str, base: str) -> dict[str, Any]:
        """What is said of any file: where, how long, its digest."""
        content = self._store.read(name) or b""
        return {"url": f"{base}/{name}", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def editions(self, base: str) -> list[dict[str, Any]]:
        """Every version of every document, in each language and format."""
        names = (*self._store.names("cps"), *self._store.names("terms"))
        matches = ((name, _EDITION.fullmatch(name)) for name in names)
        return [{**found.groupdict(), **self.file(name, base)} for name, found in matches if found]


def build(
    tree: Tree, rows: Rows, issuers: Sequence[roster.Issuer], root: bytes, settings: Settings
) -> dict[str, Any]:
    """A manifest of what is public now, without its number, its times and the daily lists."""
    base = base_url(settings)
    crls = tree.crls()
    file: Callable[[str], dict[str, Any]] = lambda name: tree.file(name, base)  # noqa: E731
    return {
        "format": FORMAT,
        "schema": f"{base}/manifest.schema.json",
        "ca": {"organization": settings.ca.organization, "country": settings.ca.country},
        "base_url": base,
        "contact": settings.ca.contact,
        "acme_directory": f"{settings.acme.base_url}/directory",
        "ocsp": f"{base}/ocsp",
        "trust_anchor": {
            **roster.facts(root),
            "ski": key_id(root).hex(),
            "certificate": file("trust-anchor.crt"),
            "crls": crl_urls(base, crls, roster.ROOT_ID),
        },
        "issuers": [_issuer(each, crls, rows, base, file) for each in roster.in_order(issuers)],
        "crls": [_told(each, crls, rows, base) for each in crls],
        "documents": tree.editions(base),
        "test_sites": sites.listed(settings),
        "terms": {"version": settings.ca.terms_version, "url": f"{base}/terms/"},
    }


def crl_urls(base: str, crls: Sequence[Crl], issuer: str) -> list[str]:
    """The URLs of all CRLs of an issuer."""
    return [f"{base}/{each.name}" for each in crls if each.issuer == issuer]


def ccadb(urls: Sequence[str], shards: int) -> dict[str, str]:
    """What CCADB's two fields take, as they take it: one URL, or a JSON array in a string.

    CCADB policy 6.2: `[""]` says that there is no partitioned CRL (yet).
    """
    if shards == 1:
        return {"full_crl": urls[0] if urls else "", "partitioned_crls": json.dumps([""])}
    return {"full_crl": "", "partitioned_crls": json.dumps(list(urls) or [""])}


def _issuer(
    issuer: roster.Issuer,
    crls: Sequence[Crl],
    rows: Rows,
    base: str,
    file: Callable[[str], dict[str, Any]],
) -> dict[str, Any]:
    certificate = x509.load_der_x509_certificate(issuer.certificate)
    urls = crl_urls(base, crls, issuer.id)
    shards = max(len(urls), _shards(rows, issuer.id))
    return {
        **roster.entry(issuer, base),
        "use": str(issuer.use),
        "serial": f"{certificate.serial_number:x}",
        "ski": key_id(issuer.certificate).hex(),
        "certificate": file(f"issuers/{issuer.id}.crt"),
        "ocsp": f"{base}/ocsp" if issuer.use == "issuing" else None,
        "crl_shards": shards,
        "crls": urls,
        "ccadb": ccadb(urls, shards),
    }


def _told(crl: Crl, crls: Sequence[Crl], rows: Rows, base: str) -> dict[str, Any]:
    made = rows.one(
        "SELECT revocation_version FROM crls WHERE issuer_id = ? AND shard = ? AND number = ? AND sha256 = ?",
        (crl.issuer, crl.shard, crl.number, bytes.fromhex(crl.sha256)),
    )
    return {
        "issuer": crl.issuer,
        "shard": crl.shard,
        "url": f"{base}/{crl.name}",
        "size": crl.size,
        "sha256": crl.sha256,
        "number": crl.number,
        "this_update": iso(crl.this_update),
        "next_update": iso(crl.next_update),
        "entries": crl.entries,
        "revocation_version": None if made is None else made["revocation_version"],
    }


def _shards(rows: Rows, issuer: str) -> int:
    row = rows.one("SELECT crl_shards FROM issuers WHERE id = ?", (issuer,))
    return 1 if row is None else int(row["crl_shards"])
