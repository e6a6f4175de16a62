"""Short-lived state in the memory of the one app process.

A nonce is base64url(owner || counter || keyed BLAKE2b of both, 128 bits).  Giving one out stores
nothing; a bitmap over the counters remembers which came back.  So a nonce can be refused only when it was
used, was made by another process or before a restart, was forged, or is older than the newest 134 million:
a fresh one is never refused, however many clients there are.  The owner's id stands in front so that, with
more than one front process, a nonce can be taken to the process that made it.

Must never: write anything to disk, or accept a nonce twice.

RFC 8555 sections 6.5 and 7.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from core.randomness import Randomness

OWNER_OCTETS = 4
COUNTER_OCTETS = 8
TAG_OCTETS = 16
"""128 bits: a forger needs 2**127 tries on average, and has no way to try offline."""

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
        # Keyed BLAKE2b is a MAC by itself (RFC 7693); OpenSSL's HMAC looks up its algorithm for every call.
        self._mac = hashlib.blake2b(key=randomness.octets(32), digest_size=TAG_OCTETS)
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
        body = self._owner + counter.to_bytes(COUNTER_OCTETS, "big")
        return base64.urlsafe_b64encode(body + self._tag(body)).rstrip(b"=").decode("ascii")

    async def consume(self, nonce: str) -> bool:
        """True the first time a nonce of ours comes back; False for every other string."""
        body = self._open(nonce)
        if body is None:
            return False
        chunk, bit = divmod(int.from_bytes(body[OWNER_OCTETS:], "big"), self._chunk_bits)
        used = self._used.get(chunk)
        if used is None or used[bit >> 3] & (1 << (bit & 7)):
            return False
        used[bit >> 3] |= 1 << (bit & 7)
        return True

    def _open(self, nonce: str) -> bytes | None:
        """Owner and counter of a nonce that we made in this run, else None."""
        if len(nonce) != _LENGTH:
            return None
        try:
            octets = base64.b64decode(nonce + "=" * (-_LENGTH % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, tag = octets[: OWNER_OCTETS + COUNTER_OCTETS], octets[OWNER_OCTETS + COUNTER_OCTETS :]
        if body[:OWNER_OCTETS] != self._owner or not hmac.compare_digest(tag, self._tag(body)):
            return None
        return body

    def _tag(self, body: bytes) -> bytes:
        tag = self._mac.copy()
        tag.update(body)
        return tag.digest()


_LENGTH = -(-(OWNER_OCTETS + COUNTER_OCTETS + TAG_OCTETS) * 8 // 6)
