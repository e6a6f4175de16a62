"""What must hold of the settings of CRLs (RFC 5280 section 5; BR 4.9.7, 7.2)."""

from __future__ import annotations

from core.refusal import wrong
from core.settings import Status

MAX_SHARDS = 1000
"""CRLs of one issuer: each is signed daily, and named in the manifest and to CCADB."""

MAX_DELAY = 60
"""Seconds: a revocation is public within a minute."""

LEAST_SIZE = 1000
"""Octets: the smallest CRL has some four hundred."""


def undated(status: Status) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    if status.crl_delay > MAX_DELAY:
        raise wrong("status.crl_delay", status.crl_delay, f"a revocation is public within {MAX_DELAY} s")
    if status.crl_size < LEAST_SIZE:
        raise wrong("status.crl_size", status.crl_size, "no CRL is that short: write octets, like 10000000")
    for key, shards in {
        "crl_shards": status.crl_shards,
        **{
            f"issuer_crl_shards.{issuer_id}": number for issuer_id, number in status.issuer_crl_shards.items()
        },
    }.items():
        if not 1 <= shards <= MAX_SHARDS:
            raise wrong(f"status.{key}", shards, f"an issuer has 1 to {MAX_SHARDS} CRLs")
