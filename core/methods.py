"""The challenge methods that show control of an identifier: what each proves.  One table for all rooms.

How a method is checked is the business of `validation/` (methods.py there maps each name to its check).

RFC 8555 section 8; RFC 8737; RFC 8738; draft-ietf-acme-dns-account-label; draft-ietf-acme-dns-persist.
BR 3.2.2.4, 3.2.2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Method:
    """Its `sources`; whether it shows control of a `wildcard`, and of an IP `address`."""

    sources: str
    wildcard: bool
    address: bool


_BR = "Baseline Requirements"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "http-01": Method(f"RFC 8555 section 8.3; {_BR} 3.2.2.4.19, 3.2.2.5.6", wildcard=False, address=True),
        "dns-01": Method(f"RFC 8555 section 8.4; {_BR} 3.2.2.4.7", wildcard=True, address=False),
        "tls-alpn-01": Method(f"RFC 8737; {_BR} 3.2.2.4.20, 3.2.2.5.7", wildcard=False, address=True),
        "dns-account-01": Method(f"{_BR} 3.2.2.4.21", wildcard=True, address=False),
        "dns-persist-01": Method(f"{_BR} 3.2.2.4.22", wildcard=True, address=False),
    }
)
