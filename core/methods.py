"""The challenge methods that show control of an identifier: what each proves.  One table for all rooms.

How a method is checked is the business of `validation/methods/`, which maps each name to its check.

RFC 8555 section 8; RFC 8737; RFC 8738; draft-ietf-acme-dns-account-label; draft-ietf-acme-dns-persist.
BR 3.2.2.4, 3.2.2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from core.requirements import HOUR, Limit, limit

ISSUANCE = HOUR
"""Seconds that an issuance may take, the logs' part in it included: what it relies on must hold so long."""

PERSIST_REUSE_LEAST = HOUR + ISSUANCE
"""Of a record with a short TTL: so that the order which asked for the look can be finalized and issued."""


@dataclass(frozen=True, slots=True)
class Method:
    """Its `sources`; whether it shows control of a `wildcard`, and of an IP `address`.

    `key_authorization`: whether what the applicant publishes is one (RFC 8555 section 8.1), which names his
    account key; a method without has no token, and a record that stays: it names the account, and the key
    where it has the hashed form (docs/adr/0015, 0026).
    """

    sources: str
    wildcard: bool
    address: bool
    key_authorization: bool = True


_BR = "Baseline Requirements"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "http-01": Method(f"RFC 8555 section 8.3; {_BR} 3.2.2.4.19, 3.2.2.5.6", wildcard=False, address=True),
        "dns-01": Method(f"RFC 8555 section 8.4; {_BR} 3.2.2.4.7", wildcard=True, address=False),
        "tls-alpn-01": Method(f"RFC 8737; {_BR} 3.2.2.4.20, 3.2.2.5.7", wildcard=False, address=True),
        "dns-account-01": Method(f"{_BR} 3.2.2.4.21", wildcard=True, address=False),
        "dns-persist-01": Method(f"{_BR} 3.2.2.4.22", wildcard=True, address=False, key_authorization=False),
    }
)


def reuse(method: str, ttl: int, at: int) -> int:
    """For how many seconds what showed control by `method` may be relied on at `at` (BR 4.2.1).

    `ttl` in seconds is the record's, where the method has one that stays (BR 3.2.2.4.22).
    """
    if METHODS[method].key_authorization:
        return limit(Limit.VALIDATION_REUSE, at)
    return min(limit(Limit.PERSIST_REUSE, at), max(ttl, PERSIST_REUSE_LEAST))
