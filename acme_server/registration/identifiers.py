"""Which identifiers an order may name (RFC 8555 section 7.1.3, 7.4; BR 7.1.4.2.1)."""

from __future__ import annotations

from typing import Any

from acme_server.objects import DNS
from acme_server.problems import ErrorType, joined, malformed, refusal
from core.errors import Problem
from core.identifiers import normalise_dns
from core.settings import Rules, Settings


def check(value: list[Any], settings: Settings) -> tuple[str, ...]:
    """The names of an order's `identifiers`, normalised, each once, in the order given.

    All faults are told at once, by subproblems (section 6.7.1).  Raises `Problem` (malformed,
    unsupportedIdentifier, rejectedIdentifier, compound).
    """
    if not value:
        raise malformed("identifiers must name at least one identifier")
    if len(value) > settings.limits.identifiers_per_order:
        raise malformed(f"an order may have {settings.limits.identifiers_per_order} identifiers at most")
    names: dict[str, None] = {}
    faults: list[tuple[dict[str, str], Problem]] = []
    for each in value:
        kind, text = _members(each)
        try:
            if kind != DNS:
                raise refusal(
                    ErrorType.UNSUPPORTED_IDENTIFIER, f"identifiers of type {kind[:32]!r} are not offered"
                )
            names[
                normalise_dns(
                    text, public=settings.ca.rules is Rules.PUBLIC, local_names=settings.ca.local_names
                )
            ] = None
        except Problem as problem:
            faults.append(({"type": kind, "value": text}, problem))
    if faults:
        raise joined(faults)
    return tuple(names)


def _members(identifier: Any) -> tuple[str, str]:
    if not isinstance(identifier, dict):
        raise malformed("an identifier must be an object with type and value")
    kind, text = identifier.get("type"), identifier.get("value")
    if not isinstance(kind, str) or not isinstance(text, str):
        raise malformed("type and value of an identifier must be strings")
    return kind, text
