"""The hashed account URI of a dns-persist-01 record: it names an account, one of its keys and a domain.

Whoever publishes it has named the key whose word counts, as the publisher of a key authorization has
(docs/adr/0012, 0026).  It is worked out anew and compared, never taken apart.

draft-ietf-acme-dns-persist-02 section 4.1.
"""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import urlsplit

PATH = "/acme/account-hash/"
"""Below the origin of the account URLs, which is as stable as they are.  There is no resource at it."""

ALGORITHM = "sha-256"
"""The one that everybody supports (RFC 6920 section 9.4); no other is accepted."""

ANY_DOMAIN = "*"
"""In place of the domain: for a record that stands at many names, and shows that they belong together."""


def prefix(url: str) -> str:
    """accountHashPrefix of the CA whose origin `url` has: any account URL, or acme.base_url."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{PATH}"


def digest(domain: str, thumbprint: str, account_url: str) -> str:
    """The hash value, base64url: `domain` an A-label name in lower case without a dot at its end, or "*"."""
    name = domain.encode("ascii")
    said = bytes([len(name)]) + name + thumbprint.encode("ascii") + account_url.encode("ascii")
    return base64.urlsafe_b64encode(hashlib.sha256(said).digest()).rstrip(b"=").decode("ascii")


def uris(domain: str, thumbprint: str, account_url: str) -> tuple[str, str]:
    """The URIs by which a record at `domain` names the account and this key: for it alone, and for any."""
    stem = prefix(account_url) + ALGORITHM + "/"
    return (
        stem + digest(domain, thumbprint, account_url),
        stem + digest(ANY_DOMAIN, thumbprint, account_url),
    )
