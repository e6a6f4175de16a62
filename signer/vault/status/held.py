"""The blocks of entries that were judged and wait to stand in a CRL.

The next CRL of a scope has most blocks of the last one.  So they are kept here by their SHA-256, and a
request for a CRL names them; what was judged once is not judged, nor sent, again (docs/adr/0035).

Must never: hand out a block that the lint did not pass, or for another scope than it was sent for.

RFC 5280 section 5.1.2.6; BR 7.2.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from core.errors import Refused
from signer.vault.lint.crl_blocks import Block, judged

MAX_OCTETS = 512 * 1024 * 1024
"""Of all scopes together: eleven million entries.  Whoever took over the app cannot fill the memory."""


class HeldBlocks:
    """Judged blocks by scope.  After a restart there are none, and the app sends them again."""

    def __init__(self, most: int = MAX_OCTETS) -> None:
        self._most = most
        self._held: dict[tuple[str, int], dict[bytes, Block]] = {}
        self.octets = 0

    def hold(self, issuer_id: str, shard: int, blocks: Sequence[bytes]) -> None:
        """Judge these and keep them.  Raises `Refused`; those before the refused one are kept."""
        held = self._held.setdefault((issuer_id, shard), {})
        for octets in blocks:
            digest = hashlib.sha256(octets).digest()
            if digest in held:
                continue
            if self.octets + len(octets) > self._most:
                raise Refused("crl.memory", f"of CRL entries the vault holds {self._most} octets at most")
            held[digest] = judged(octets)
            self.octets += len(octets)

    def found(self, issuer_id: str, shard: int, digests: Sequence[bytes]) -> list[Block]:
        """The blocks of a CRL, in its order.

        Raises `Refused`: `crl.block-unknown` for one that is not here and has to be sent (again).
        """
        held = self._held.get((issuer_id, shard), {})
        try:
            blocks = [held[digest] for digest in digests]
        except KeyError as error:
            raise Refused("crl.block-unknown", "a block of entries is not held here: send it") from error
        for before, block in pairwise(blocks):
            # Within a block they ascend; so no serial number can occur twice.
            if before.last >= block.first:
                raise Refused("crl-lint.serial", "serial numbers do not ascend from one block to the next")
        return blocks

    def keep_only(self, issuer_id: str, shard: int, digests: Sequence[bytes]) -> None:
        """Forget what is in this scope's newest CRL no more."""
        held = self._held.pop((issuer_id, shard), {})
        kept = {digest: held[digest] for digest in digests if digest in held}
        if kept:
            self._held[issuer_id, shard] = kept
        self.octets -= sum(len(block.octets) for digest, block in held.items() if digest not in kept)
