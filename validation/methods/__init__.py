"""How each challenge method is checked: a new one is a file and a row here, and a row in core/methods.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from validation.challenge import Check
from validation.methods import dns01, dns_account01, dns_persist01, http01, tls_alpn01

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "http-01": http01.check,
        "dns-01": dns01.check,
        "tls-alpn-01": tls_alpn01.check,
        "dns-account-01": dns_account01.check,
        "dns-persist-01": dns_persist01.check,
    }
)


def record_name(method: str, name: str, account_url: str) -> str:
    """Where `method` looks for a TXT record for `name` (without "*."); "" when it looks for none."""
    if method == "dns-01":
        return dns01.record(name)
    if method == "dns-account-01":
        return dns_account01.record(name, account_url)
    return dns_persist01.record(name) if method == "dns-persist-01" else ""
