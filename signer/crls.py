"""What is said of CRLs between the vault and whoever asks it: a part of signer/api.py.

RFC 5280 section 5; docs/adr/0035.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CrlEntry:
    """One revokedCertificates entry of a root's CRL; `reason` None or 0 leaves the extension out."""

    serial: bytes
    revoked_at: int
    reason: int | None


@dataclass(frozen=True, slots=True)
class CrlBlocks:
    """Entries for the CRLs of (issuer_id, shard): the vault judges them, and holds them until they are named.

    A block is revokedCertificates entries in DER, side by side, in the order of their serial numbers' octets.
    """

    issuer_id: str
    shard: int
    blocks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CrlRequest:
    """A CRL to be signed.  `number` must rise within (issuer_id, shard); the vault remembers the last.

    `blocks` are the SHA-256 of blocks that it holds, in ascending order: all entries of the CRL.
    """

    issuer_id: str
    shard: int
    number: int
    this_update: int
    next_update: int
    blocks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedCrl:
    """A signed CertificateList in DER, but for its entries: what stands before and after the blocks."""

    before: bytes
    after: bytes

    def whole(self, blocks: Iterable[bytes] = ()) -> bytes:
        """With its entries."""
        return b"".join((self.before, *blocks, self.after))
