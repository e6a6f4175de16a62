"""The secret from which the key of each epoch's seal is derived: no key lies in Redis, or on its disk.

All hosts that share one Redis need the same one.  Its fingerprint stands beside the epoch, and tells a host
that has another.

RFC 8555 section 6.5.
"""

from __future__ import annotations

from core.shared_secret import SharedSecret

KEY_OCTETS = 32


class NonceSecret(SharedSecret):
    """Derives the keys of seals."""

    SETTING = "redis.secret_file"
    FINGERPRINT = b"acme nonces fingerprint"

    def key(self, epoch: bytes) -> bytes:
        """The key of the seal of the epoch `epoch`, 32 octets."""
        return self.derived(b"acme nonces of the epoch: " + epoch, KEY_OCTETS)
