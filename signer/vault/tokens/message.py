"""What is to be signed, where it lies in pieces: a CRL of a million entries is 45 MB, and is not copied.

Must never: change after it was made.

RFC 5280 section 5.1.1.3; docs/adr/0035.
"""

from __future__ import annotations

import hashlib


class Message:
    """Octets that lie in pieces.  Each digest of them is made once, by whichever thread needs it first."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._digests: dict[str, bytes] = {}

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)

    def digest(self, name: str) -> bytes:
        """By `hashlib`'s name of the hash."""
        made = self._digests.get(name)
        if made is None:
            hashed = hashlib.new(name)
            for piece in self._pieces:
                hashed.update(piece)
            made = self._digests[name] = hashed.digest()
        return made


Data = bytes | Message
"""What can be signed."""


def digest(data: Data, name: str) -> bytes:
    """Of either."""
    return data.digest(name) if isinstance(data, Message) else hashlib.new(name, data).digest()
