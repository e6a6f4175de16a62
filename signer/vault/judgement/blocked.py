"""Public keys that the vault certifies for nobody, whatever its callers' database says.

The CA's own keys, those that the vault was told are compromised, which its journal remembers for ever, and
those on the operator's list.  The last two kinds are the app's knowledge as well; here they are kept where a
takeover of the app cannot forget them.

Must never: unblock a key.

BR 6.1.1.3 (4) and (5), 4.9.12; RFC 8555 section 11.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set

from core.blocklist import Blocklist
from core.errors import Refused
from signer.vault.record.journal import Journal, Kind

_HASH_OCTETS = 32


class RefusedKeys:
    """All keys that are refused; `own` are the SubjectPublicKeyInfos of the CA itself, which grow with each
    responder."""

    def __init__(self, own: Set[bytes], journal: Journal, blocklist: Blocklist) -> None:
        self._own = own
        self._journal = journal
        self._blocklist = blocklist

    def must_not_be(self, spki: bytes) -> None:
        """Raises `Refused("key.*")` when this SubjectPublicKeyInfo may not be certified."""
        if spki in self._own:
            raise Refused("key.own", "this public key belongs to the CA itself (BR 6.1.1.3): use another")
        self.must_not_be_blocked(hashlib.sha256(spki).digest())
        if self._blocklist.holds(spki):
            raise Refused("key.listed", "this key is on the operator's list of bad keys: make a new one")

    def must_not_be_blocked(self, spki_sha256: bytes) -> None:
        """Raises `Refused("key.blocked")`."""
        if self._journal.is_blocked(spki_sha256):
            raise Refused("key.blocked", "this key is known to be compromised: make a new one")

    async def block(self, spki_sha256: bytes) -> None:
        """Refuse the key from now on; returns when that is durable.  Raises `Refused` for what is no hash."""
        if len(spki_sha256) != _HASH_OCTETS:
            raise Refused("key.hash", "a key is blocked by the SHA-256 of its SubjectPublicKeyInfo")
        if not self._journal.is_durably_blocked(spki_sha256):
            await self._journal.append(
                Kind.BLOCKED_KEY, issuance_id=f"blocked-key:{spki_sha256.hex()}", tbs=spki_sha256
            )
