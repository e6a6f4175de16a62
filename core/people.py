"""The people of a ceremony, as everybody may know them: a name, a duty and two public keys.

CPS 5.2.2 (number of persons required per task), 5.2.3 (identification of each role).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """A trusted role's holder: `signing_key` is raw Ed25519, `sealing_key` raw X25519, 32 octets each."""

    name: str
    role: str
    signing_key: bytes
    sealing_key: bytes

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of SHA-256 over both keys."""
        return hashlib.sha256(self.signing_key + self.sealing_key).hexdigest()[:16]
