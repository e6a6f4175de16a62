"""Short-lived state in the memory of the one app process.

A nonce is owner || counter, closed with a key of this process (`seal`).  Giving one out stores nothing; a
bitmap over the counters remembers which came back.  So a nonce can be refused only when it was used, was made
by another process or before a restart, was forged, or is older than the newest 134 million: a fresh one is
never refused, however many clients there are.

Must never: write anything to disk, or accept a nonce twice.

RFC 8555 sections 6.5 and 7.2.
"""

from __future__ import annotations

import hashlib

from core.ephemeral.seal import Seal
from core.randomness import Randomness

OWNER_OCTETS = 4
COUNTER_OCTETS = 8

CHUNK_BITS = 1 << 19
"""Nonces that one chunk of the bitmap covers (64 KiB); memory grows by one chunk at a time."""

MAX_CHUNKS = 256
"""16 MiB for 134 million nonces: at 10 000 a second a nonce stays good for more than three hours."""


class MemoryNonces:
    """`Nonces` of one process.  For one thread."""

    def __init__(
        self,
        randomness: Randomness,
        owner: int | bytes | str,
        *,
        chunk_bits: int = CHUNK_BITS,
        max_chunks: int = MAX_CHUNKS,
    ) -> None:
        """`owner` names this process among the fronts; any value is cut to four octets by a hash."""
        self._owner = hashlib.sha256(repr(owner).encode()).digest()[:OWNER_OCTETS]
        self._seal = Seal(randomness.octets(32), OWNER_OCTETS + COUNTER_OCTETS)
        self._chunk_bits = chunk_bits
        self._max_chunks = max_chunks
        self._next = 0
        self._used: dict[int, bytearray] = {}
        """Chunk number -> its bits; only the newest `max_chunks` are kept."""

    async def issue(self) -> str:
        """A fresh nonce (38 base64url characters)."""
        counter, self._next = self._next, self._next + 1
        chunk, bit = divmod(counter, self._chunk_bits)
        if bit == 0:
            self._used[chunk] = bytearray((self._chunk_bits + 7) // 8)
            self._used.pop(chunk - self._max_chunks, None)
        return self._seal.close(self._owner + counter.to_bytes(COUNTER_OCTETS, "big"))

    async def consume(self, nonce: str) -> bool:
        """True the first time a nonce of ours comes back; False for every other string."""
        body = self._seal.open(nonce)
        if body is None or body[:OWNER_OCTETS] != self._owner:
            return False
        chunk, bit = divmod(int.from_bytes(body[OWNER_OCTETS:], "big"), self._chunk_bits)
        used = self._used.get(chunk)
        if used is None or used[bit >> 3] & (1 << (bit & 7)):
            return False
        used[bit >> 3] |= 1 << (bit & 7)
        return True
