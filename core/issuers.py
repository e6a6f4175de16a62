"""The issuing CAs that the register knows: whatever points at an issuer points at a row here.

Must never: hold a private key, or forget an issuer: its certificates outlive its use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509

from core.database import Rows, Transaction
from core.errors import CaError, ConfigurationError


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuing CA.  `certificate` is DER; `chain` PEM, the issuer first, without the root."""

    id: str
    use: str
    algorithm: str
    certificate: bytes
    chain: bytes
    crl_shards: int


def put_issuer(tx: Transaction, issuer: Issuer) -> None:
    """Add an issuer; one that is known already may only gain CRL shards.  Raises: `CaError`."""
    known = issuer_by_id(tx, issuer.id)
    if known is None:
        tx.execute(
            "INSERT INTO issuers (id, use, algorithm, certificate, chain, crl_shards, added_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(issuer.id, issuer.use, issuer.algorithm, issuer.certificate, issuer.chain),
                *(issuer.crl_shards, tx.now),
            ),
        )
        tx.audit("issuer-added", "system", {"id": issuer.id, "use": issuer.use, "shards": issuer.crl_shards})
        return
    if known == issuer:
        return
    if known.certificate != issuer.certificate or known.use != issuer.use:
        raise CaError(
            f"issuer {issuer.id} is known with another certificate or use: "
            "a new certificate needs a new issuer id, and a data directory belongs to one hierarchy"
        )
    must_not_lose_shards(known, issuer.crl_shards)
    tx.execute(
        "UPDATE issuers SET chain = ?, crl_shards = ? WHERE id = ?",
        (issuer.chain, issuer.crl_shards, issuer.id),
    )
    tx.audit("issuer-changed", "system", {"id": issuer.id, "shards": issuer.crl_shards})


def must_not_lose_shards(known: Issuer, crl_shards: int) -> None:
    """Raises: `ConfigurationError` for fewer CRL shards than certificates name."""
    if crl_shards < known.crl_shards:
        raise ConfigurationError(
            f"issuer {known.id} has {known.crl_shards} CRL shards and certificates that name them: "
            "status.crl_shards and status.issuer_crl_shards may rise but never fall"
        )


def issuer_by_id(rows: Rows, id: str) -> Issuer | None:
    """One issuer."""
    row = rows.one(f"SELECT {_ISSUER} FROM issuers WHERE id = ?", (id,))
    return None if row is None else Issuer(**dict(row))


def issuers(rows: Rows) -> list[Issuer]:
    """All issuers, the oldest first."""
    return [Issuer(**dict(row)) for row in rows.all(f"SELECT {_ISSUER} FROM issuers ORDER BY added_at, id")]


@lru_cache(maxsize=64)
def key_id(certificate: bytes) -> bytes:
    """The SubjectKeyIdentifier of an issuer's certificate (DER): the AKI keyIdentifier of what it signs.

    b"" when it has none, which no issuer that conforms to RFC 5280 section 4.2.1.2 lacks.
    """
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return b""


_ISSUER = "id, use, algorithm, certificate, chain, crl_shards"
