"""The series of CRLs: one for each issuer and shard, and the last CRL of each that reached the public.

Must never: write anything.

RFC 5280 sections 5 (scope), 5.2.3 (CRLNumber rises within it), 5.2.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509

from core.database import Rows

_REMEMBERED = 1 << 12
"""Shards of all issuers together: each is looked at after every revocation."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One series of CRLs: its numbers rise strictly."""

    issuer_id: str
    shard: int
    shards: int
    issuer_certificate: bytes

    @property
    def name(self) -> str:
        """The file's public name."""
        return f"crl/{self.issuer_id}-{self.shard}.crl"

    def distribution_point(self, base_url: str) -> tuple[bool, bytes] | None:
        """Whether its issuingDistributionPoint is critical, and its DER (BR 7.2.2.1).

        A shard names its own URL, octet for octet the one in its certificates' CRLDP; a full CRL names none.
        The first shard keeps the URL that it had as a full CRL, and so its certificates keep their CRL when
        others are added.
        """
        if self.shards == 1:
            return None
        return True, _distribution_point(f"{base_url.rstrip('/')}/{self.name}")


@dataclass(frozen=True, slots=True)
class Published:
    """A row of `crls`: the last CRL of a scope that reached the public."""

    number: int
    this_update: int
    next_update: int
    revocation_version: int
    sha256: bytes


@lru_cache(_REMEMBERED)
def _distribution_point(url: str) -> bytes:
    name = x509.UniformResourceIdentifier(url)
    return x509.IssuingDistributionPoint([name], None, False, False, None, False, False).public_bytes()


def scopes(rows: Rows) -> list[Scope]:
    """All CRL scopes: every issuer, the local-service issuer too, with each of its shards."""
    found = rows.all("SELECT id, certificate, crl_shards FROM issuers ORDER BY id")
    return [
        Scope(row["id"], shard, row["crl_shards"], row["certificate"])
        for row in found
        for shard in range(row["crl_shards"])
    ]


def named_by(certificate: x509.Certificate, issuer_id: str) -> int | None:
    """The shard in the CRL distribution point of a certificate; None where it names none of that issuer's."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return None
    for point in points:
        for name in point.full_name or ():
            tail = str(name.value).rpartition(f"/crl/{issuer_id}-")[2]
            if tail.endswith(".crl") and tail[:-4].isdecimal():
                return int(tail[:-4])
    return None


def last_published(rows: Rows, scope: Scope) -> Published | None:
    """The scope's newest CRL that was recorded as published."""
    row = rows.one(
        "SELECT number, this_update, next_update, revocation_version, sha256 FROM crls"
        " WHERE issuer_id = ? AND shard = ? AND sha256 != x'' ORDER BY number DESC LIMIT 1",
        (scope.issuer_id, scope.shard),
    )
    return None if row is None else Published(*row)
