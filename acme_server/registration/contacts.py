"""Which contacts an account may name (RFC 8555 section 7.3): `mailto:` with one address, no header fields."""

from __future__ import annotations

import re
from typing import Any

from acme_server.problems import ErrorType, malformed, refusal
from core.settings import Limits

# RFC 5321 sections 4.1.2 and 4.5.3.1, in the part that is in real use: a dot-string at a domain.
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?=.{1,255}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+"
)


def check(value: Any, limits: Limits) -> tuple[str, ...]:
    """The contacts.  Raises `Problem` (malformed, unsupportedContact, invalidContact)."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise malformed("contact must be an array of URLs")
    if len(value) > limits.contacts_per_account:
        raise refusal(
            ErrorType.INVALID_CONTACT, f"an account may have {limits.contacts_per_account} contacts at most"
        )
    for each in value:
        _check_one(each)
    return tuple(value)


def _check_one(contact: str) -> None:
    scheme, _, address = contact.partition(":")
    if scheme.lower() != "mailto":
        raise refusal(
            ErrorType.UNSUPPORTED_CONTACT, f"only mailto: contacts are supported, not {scheme[:32]!r}"
        )
    if "?" in address:
        raise refusal(ErrorType.INVALID_CONTACT, "a mailto: contact must have no header fields (hfields)")
    if "," in address:
        raise refusal(ErrorType.INVALID_CONTACT, "a mailto: contact must have one address; give several URLs")
    if _ADDRESS.fullmatch(address) is None:
        raise refusal(ErrorType.INVALID_CONTACT, "a mailto: contact must hold one e-mail address in ASCII")
