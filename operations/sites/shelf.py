"""What the sites' process keeps: its account, and for each site what it shows and what comes next.

    account.pem      the account key; account.url beside it, once the account exists
    NAME/shown.pem   key and chain that visitors see
    NAME/next.pem    obtained, but not yet what the site demonstrates: still to be revoked, or to expire

The files say all: a crash at any instant leaves a state from which the keeper goes on.

Must never: leave half a file under its name, or a key that others can read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

SHOWN, NEXT = "shown.pem", "next.pem"


@dataclass(frozen=True, slots=True)
class Held:
    """An identity: the file of key and chain, and its chain's certificates, leaf first."""

    path: Path = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def begins(self) -> int:
        return int(self.leaf.not_valid_before_utc.timestamp())

    @property
    def ends(self) -> int:
        """notAfter: the last second of its life."""
        return int(self.leaf.not_valid_after_utc.timestamp())


class Shelf:
    """The directory of the sites' process."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def account_key(self) -> ec.EllipticCurvePrivateKey:
        """The account key, made at the first call."""
        path = self._root / "account.pem"
        if not path.exists():
            write(path, _pem(ec.generate_private_key(ec.SECP256R1())))
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    @property
    def account_url(self) -> str:
        """ "" while there is no account."""
        path = self._root / "account.url"
        return path.read_text().strip() if path.exists() else ""

    @account_url.setter
    def account_url(self, url: str) -> None:
        write(self._root / "account.url", url.encode())

    def held(self, name: str, which: str) -> Held | None:
        """The identity `which` (SHOWN or NEXT) of a site, None when there is none that can be used."""
        path = self._root / name / which
        try:
            chain = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError):
            return None
        return Held(path, tuple(chain))

    def keep(self, name: str, which: str, key: object, chain: str) -> Held:
        """Keep a new identity.  Raises ValueError when `chain` holds no certificate."""
        certificates = x509.load_pem_x509_certificates(chain.encode())
        path = self._root / name / which
        write(path, _pem(key) + chain.encode())
        return Held(path, tuple(certificates))

    def show(self, name: str) -> None:
        """What came next is shown from now on."""
        (self._root / name / NEXT).rename(self._root / name / SHOWN)
        _force(self._root / name)


def write(path: Path, content: bytes) -> None:
    """Durably and at once, for the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    _force(path.parent)


def _force(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pem(key: object) -> bytes:
    assert hasattr(key, "private_bytes")
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made
