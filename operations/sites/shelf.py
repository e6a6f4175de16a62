"""What the sites' process keeps: its account, and for each site what it shows and what comes next.

    account.pem      the account key; account.url beside it, once the account exists
    NAME/shown.pem   key and chain that visitors see
    NAME/next.pem    obtained, but not yet what the site demonstrates: still to be revoked, or to expire

The files say all: a crash at any instant leaves a state from which the keeper goes on.

Must never: leave half a file under its name, or a key that others can read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from core.durable import sync_directory
from operations.subscriber.account import Account, pem, write

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
        self.account = Account(root)

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
        write(path, pem(key) + chain.encode())
        return Held(path, tuple(certificates))

    def show(self, name: str) -> None:
        """What came next is shown from now on."""
        (self._root / name / NEXT).rename(self._root / name / SHOWN)
        sync_directory(self._root / name)
