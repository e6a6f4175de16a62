"""What is public of issuers and CRLs, read from the tree: it is there when the database is not.

Must never: write; take a file for an issuer's that the hierarchy did not publish.

RFC 5280 sections 4.1.2.4, 5.2.3, 5.3; CP/CPS 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from repo_static.store import Store
from status.ocsp.issuers import certid_hashes

_ISSUER = re.compile(r"issuers/([A-Za-z0-9][A-Za-z0-9._-]*?)\.crt")
_CROSS = re.compile(r"-cross-[0-9a-f]{8}$")


@dataclass(frozen=True)
class Issuer:
    """An issuer of the tree; `certificate` DER."""

    id: str
    certificate: bytes

    @cached_property
    def parsed(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate)

    @cached_property
    def hashes(self) -> tuple[bytes, bytes]:
        """issuerNameHash and issuerKeyHash, SHA-256."""
        return next((name, key) for word, name, key in certid_hashes(self.certificate) if word == "sha256")

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether this issuer's key made the certificate."""
        try:
            certificate.verify_directly_issued_by(self.parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Shard:
    """A public CRL, and whether a serial stands on it; times in POSIX seconds, `reason` RFC 5280's name."""

    name: str
    number: int
    this_update: int
    next_update: int
    revoked_at: int | None
    reason: str


class Published:
    """The public tree below `root`."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)
        self._issuers: dict[str, Issuer] = {}
        self._crl: tuple[tuple[str, int, int], x509.CertificateRevocationList] | None = None

    def issuers(self) -> list[Issuer]:
        """All issuers, the root last; a file never changes, so each is read once."""
        for name in self._store.names("issuers"):
            found = _ISSUER.fullmatch(name)
            if found is None or _CROSS.search(found[1]) or found[1] in self._issuers:
                continue
            content = self._store.read(name)
            if content is not None:
                self._issuers[found[1]] = Issuer(found[1], content)
        return sorted(self._issuers.values(), key=lambda each: (each.id == "root", each.id))

    def issuer(self, id: str) -> Issuer | None:
        """The issuer with that id."""
        return next((each for each in self.issuers() if each.id == id), None)

    def shards(self, issuer_id: str) -> list[int]:
        """The shards of an issuer that are public."""
        names = (
            re.fullmatch(rf"crl/{re.escape(issuer_id)}-(\d+)\.crl", each) for each in self._store.names("crl")
        )
        return sorted(int(each[1]) for each in names if each)

    def shard(self, issuer_id: str, number: int, serial: bytes) -> Shard | None:
        """The CRL in which the serial would stand; None when there is none yet.  Slow for a huge CRL."""
        name = f"crl/{issuer_id}-{number}.crl"
        crl = self._read(name)
        if crl is None:
            return None
        entry = crl.get_revoked_certificate_by_serial_number(int.from_bytes(serial, "big"))
        crl_number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        assert crl.next_update_utc is not None
        return Shard(
            name=name,
            number=crl_number,
            this_update=int(crl.last_update_utc.timestamp()),
            next_update=int(crl.next_update_utc.timestamp()),
            revoked_at=None if entry is None else int(entry.revocation_date_utc.timestamp()),
            reason="" if entry is None else _reason(entry),
        )

    def _read(self, name: str) -> x509.CertificateRevocationList | None:
        """Parsed once for each version of the file: the last one that was asked for is kept."""
        path = self._store.root / name
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        mark = name, found.st_mtime_ns, found.st_ino
        if self._crl is None or self._crl[0] != mark:
            content = self._store.read(name)
            if content is None:
                return None
            self._crl = mark, x509.load_der_x509_crl(content)
        return self._crl[1]


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return str(entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value)
    except x509.ExtensionNotFound:
        return ""
