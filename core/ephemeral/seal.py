"""The form of a nonce: base64url(body || keyed BLAKE2b of the body, 128 bits).

Who has the key makes nonces without asking anybody, and knows them again.  It is the body that is used once:
two spellings of the same octets open to the same body.

Must never: open what was not closed with the key.

RFC 8555 section 6.5.1; RFC 7693 (a keyed BLAKE2b is a MAC by itself).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

TAG_OCTETS = 16
"""128 bits: a forger needs 2**127 tries on average, and has no way to try offline."""


class Seal:
    """Closes and opens bodies of one length with one key (up to 64 octets)."""

    def __init__(self, key: bytes, body_octets: int) -> None:
        # OpenSSL's HMAC looks up its algorithm for every call; this one is set up once.
        self._mac = hashlib.blake2b(key=key, digest_size=TAG_OCTETS)
        self._body_octets = body_octets

    def close(self, body: bytes) -> str:
        """The nonce that carries `body`."""
        return base64.urlsafe_b64encode(body + self._tag(body)).rstrip(b"=").decode("ascii")

    def open(self, nonce: str) -> bytes | None:
        """The body of a nonce that was closed with this key, else None."""
        octets = decoded(nonce, self._body_octets)
        return None if octets is None else self.verified(octets)

    def verified(self, octets: bytes) -> bytes | None:
        """The same for what `decoded` gave."""
        body, tag = octets[: self._body_octets], octets[self._body_octets :]
        return body if hmac.compare_digest(tag, self._tag(body)) else None

    def _tag(self, body: bytes) -> bytes:
        tag = self._mac.copy()
        tag.update(body)
        return tag.digest()


def decoded(nonce: str, body_octets: int) -> bytes | None:
    """The octets of a nonce whose body is so long, unverified; None when it can be none."""
    octets = body_octets + TAG_OCTETS
    length = -(-octets * 8 // 6)
    if len(nonce) != length:
        return None
    try:
        return base64.b64decode(nonce + "=" * (-length % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
