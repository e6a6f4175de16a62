"""The one secret from which the MAC keys of external accounts are derived, each by its kid.

So no key is stored, and whoever reads the database can bind no account.  Links to the terms' page are made
with it, too (handlers/terms.py).

RFC 8555 section 7.3.4; RFC 7518 section 3.2.
"""

from __future__ import annotations

from core.shared_secret import SharedSecret

KEY_OCTETS = 64
"""Of a derived key: RFC 7518 section 3.2 asks for as many as the hash has, and HS512 has 64."""


class BindingSecret(SharedSecret):
    """Derives the keys of external accounts."""

    SETTING = "acme.binding_secret_file"
    FINGERPRINT = b"acme external account fingerprint"

    def key(self, kid: str) -> bytes:
        """The MAC key of `kid`, 64 octets."""
        return self.derived(b"acme external account key: " + kid.encode(), KEY_OCTETS)
