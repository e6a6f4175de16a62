"""Which identifier newAuthz may be asked for (RFC 8555 section 7.4.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from acme_server.problems import malformed
from acme_server.registration import identifiers
from core.errors import Problem
from core.settings import Settings

UNWILLING = 403
"""Section 7.4.1: the status SHOULD be this, where we would issue no certificate for the identifier."""


def name(value: Any, settings: Settings) -> str:
    """The one identifier, as a certificate would carry it.

    Raises `Problem` (malformed, rejectedIdentifier, unsupportedIdentifier).
    """
    if not isinstance(value, dict):
        raise malformed("identifier must be there and be an object with type and value")
    if str(value.get("value")).startswith("*."):
        # The identifier is that of the authorization object, which has no wildcard.
        raise malformed("a wildcard cannot be authorized beforehand: place an order for it")
    try:
        (found,) = identifiers.check([value], settings)
    except Problem as problem:
        raise replace(
            problem, status=problem.status if problem.type == "malformed" else UNWILLING
        ) from problem
    return found
