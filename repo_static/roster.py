"""The chain roster: every issuing CA, its chains to each trust anchor, its days, and so what comes next.

For those who pin, mirror or monitor: the manifest tells of a rollover before it happens, and the files that
it names are there as soon as it does.

Must never: name a chain whose files are not public.

RFC 8555 section 7.4.2 (alternate chains); CCADB policy 3 (disclosure); CP/CPS 2.2, 5.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

ROOT_ID = "root"
"""The root's name in URLs."""

_NAME_OCTETS = 4
"""Of a cross-certificate's SHA-256 in its file's name: a later one never takes the place of another."""


class Issuer(Protocol):
    """What the roster tells of an issuer (`signer.api.IssuerInfo` has it); POSIX seconds, 0 for none.

    A chain begins with a certificate of the issuer's key and ends with a trust anchor.
    """

    @property
    def id(self) -> str: ...
    @property
    def use(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def certificate(self) -> bytes: ...
    @property
    def state(self) -> str: ...
    @property
    def since(self) -> int: ...
    @property
    def until(self) -> int: ...
    @property
    def chain(self) -> tuple[bytes, ...]: ...
    @property
    def alternates(self) -> tuple[tuple[bytes, ...], ...]: ...


def files(issuers: Sequence[Issuer]) -> dict[str, bytes]:
    """The public files of all chains and cross-certificates, by name; they never change."""
    found = {}
    for issuer in issuers:
        found[f"issuers/{issuer.id}-chain.pem"] = _pems(issuer.chain)
        for chain in issuer.alternates:
            found[_chain_name(issuer, chain)] = _pems(chain)
            cross = _cross_name(issuer, chain)
            found |= {f"{cross}.crt": chain[-2], f"{cross}.pem": _pems(chain[-2:-1])}
    return found


def in_order(issuers: Sequence[Issuer]) -> list[Issuer]:
    """The public issuers in the order in which they were and will be used, then those of our own servers."""
    return sorted(issuers, key=_order)


def entry(issuer: Issuer, base_url: str) -> dict[str, Any]:
    """What is said of one issuer, its days and its chains."""
    return {
        "id": issuer.id,
        "algorithm": issuer.algorithm,
        "state": str(issuer.state),
        # Of signing subscriber certificates; the CRLs go on until the certificate's own end.
        "signs_from": _iso(max(issuer.since, _begins(issuer))) if issuer.state != "planned" else None,
        "signs_until": _iso(issuer.until) if issuer.until else None,
        **facts(issuer.certificate),
        "chains": list(_chains(issuer, base_url)),
    }


def _chains(issuer: Issuer, base_url: str) -> Iterator[dict[str, Any]]:
    yield _chain(issuer.chain, f"{base_url}/issuers/{issuer.id}-chain.pem", default=True)
    for chain in issuer.alternates:
        entry = _chain(chain, f"{base_url}/{_chain_name(issuer, chain)}", default=False)
        yield entry | {"cross_certificate": f"{base_url}/{_cross_name(issuer, chain)}.crt"}


def _chain(chain: Sequence[bytes], url: str, *, default: bool) -> dict[str, Any]:
    return {
        "default": default,
        "url": url,
        "certificates": [_sha256(x509.load_der_x509_certificate(each)) for each in chain],
        "trust_anchor": facts(chain[-1])["subject"],
    }


def _chain_name(issuer: Issuer, chain: Sequence[bytes]) -> str:
    return f"issuers/{issuer.id}-chain-{_mark(chain[-2])}.pem"


def _cross_name(issuer: Issuer, chain: Sequence[bytes]) -> str:
    """Of the certificate under the foreign trust anchor: it is the issuer's own, or the root's."""
    subject = issuer.id if len(chain) == 2 else ROOT_ID
    return f"issuers/{subject}-cross-{_mark(chain[-2])}"


def _mark(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256())[:_NAME_OCTETS].hex()


def facts(der: bytes) -> dict[str, str]:
    """What is said of any certificate (DER)."""
    certificate = x509.load_der_x509_certificate(der)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "sha256": _sha256(certificate),
        "not_before": _iso(int(certificate.not_valid_before_utc.timestamp())),
        "not_after": _iso(int(certificate.not_valid_after_utc.timestamp())),
    }


def _order(issuer: Issuer) -> tuple[bool, str, int, str]:
    return (
        issuer.use != "issuing",
        issuer.algorithm.partition("-")[0],
        max(issuer.since, _begins(issuer)),
        issuer.id,
    )


def _begins(issuer: Issuer) -> int:
    return int(x509.load_der_x509_certificate(issuer.certificate).not_valid_before_utc.timestamp())


def _sha256(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _pems(chain: Sequence[bytes]) -> bytes:
    return b"".join(x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in chain)
