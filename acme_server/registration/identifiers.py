"""Which identifiers an order may name (RFC 8555 section 7.1.3, 7.4; RFC 8738 section 3; BR 7.1.4.2.1)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from acme_server.problems import ErrorType, joined, malformed, refusal
from core.errors import Problem
from core.identifiers import DNS, IP, normalise_dns, normalise_ip
from core.settings import Rules, Settings
from validation.addresses import AddressBarred, AddressPolicy


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
            names[_normal(kind, text, settings)] = None
        except Problem as problem:
            faults.append(({"type": kind, "value": text}, problem))
    if faults:
        raise joined(faults)
    return tuple(names)


def _normal(kind: str, text: str, settings: Settings) -> str:
    if kind == DNS:
        public = settings.ca.rules is Rules.PUBLIC
        return normalise_dns(text, public=public, local_names=settings.ca.local_names)
    if kind == IP:
        return _reachable(normalise_ip(text), settings)
    raise refusal(ErrorType.UNSUPPORTED_IDENTIFIER, f"identifiers of type {kind[:32]!r} are not offered")


def _reachable(address: str, settings: Settings) -> str:
    """No address that we may not connect to, and none of special purpose (BR 4.2.2), is certified."""
    validation = settings.validation
    policy = AddressPolicy.parse(validation.allowed_networks, validation.barred_networks)
    try:
        policy.police(ip_address(address))
    except AddressBarred as error:
        raise refusal(
            ErrorType.REJECTED_IDENTIFIER, f"{error}: order a name, or a public address of yours"
        ) from error
    return address


def _members(identifier: Any) -> tuple[str, str]:
    if not isinstance(identifier, dict):
        raise malformed("an identifier must be an object with type and value")
    kind, text = identifier.get("type"), identifier.get("value")
    if not isinstance(kind, str) or not isinstance(text, str):
        raise malformed("type and value of an identifier must be strings")
    return kind, text
