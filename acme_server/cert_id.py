"""CertID: the name that ARI gives a certificate, of what everybody can read in it (RFC 9773 section 4.1).

base64url(AKI keyIdentifier) "." base64url(serial number's content octets), without padding.  A certificate
has one spelling: another one of the same octets is refused, so that no cache holds two of the same.

Must never: take a string for a certificate's name that is not exactly the one which we would write.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from acme_server.problems import malformed

KEY_ID_OCTETS = 64
"""At most: keyIdentifiers are 20 octets in practice (RFC 5280 section 4.2.1.2), and no longer than a hash."""

SERIAL_OCTETS = 20
"""At most (RFC 5280 section 4.1.2.2)."""

_TEXT_LENGTH = (KEY_ID_OCTETS * 4 + 2) // 3 + 1 + (SERIAL_OCTETS * 4 + 2) // 3

_FORM = (
    "a certificate is named by base64url(AKI keyIdentifier).base64url(serial), without padding "
    "(RFC 9773 section 4.1)"
)


@dataclass(frozen=True, slots=True)
class CertId:
    """`key_id` is the keyIdentifier in its AuthorityKeyIdentifier, `serial` its number's content octets."""

    key_id: bytes
    serial: bytes

    def __str__(self) -> str:
        return f"{_encode(self.key_id)}.{_encode(self.serial)}"


def read(text: str) -> CertId:
    """The CertID that `text` is.  Raises `Problem` (malformed)."""
    if len(text) > _TEXT_LENGTH:
        raise malformed(f"that is too long: {_FORM}")
    key_id, dot, serial = text.partition(".")
    if not dot or "." in serial:
        raise malformed(f"there must be one dot: {_FORM}")
    found = CertId(_decode(key_id), _decode(serial))
    if not 0 < len(found.key_id) <= KEY_ID_OCTETS:
        raise malformed(f"the keyIdentifier has 1 to {KEY_ID_OCTETS} octets: {_FORM}")
    if not _is_serial(found.serial):
        raise malformed(
            f"the serial is a positive DER INTEGER of at most {SERIAL_OCTETS} octets, with its leading zero "
            f"octet where it has one, and no other: {_FORM}"
        )
    return found


def _is_serial(octets: bytes) -> bool:
    if not 0 < len(octets) <= SERIAL_OCTETS or octets[0] & 0x80 or octets == b"\x00":
        return False
    return octets[0] != 0 or bool(octets[1] & 0x80)


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise malformed(f"that is not base64url: {_FORM}") from None
    if _encode(octets) != text:
        raise malformed(f"that is not the canonical base64url: {_FORM}")
    return octets
