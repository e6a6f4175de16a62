"""The table of challenge methods: a new one is a file and a row here.  RFC 8555 section 8; BR 3.2.2.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from validation import dns01, http01
from validation.challenge import Check


@dataclass(frozen=True, slots=True)
class Method:
    """`wildcard`: whether the method shows control of the whole namespace below the name."""

    check: Check
    wildcard: bool


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "http-01": Method(http01.check, wildcard=False),  # BR 3.2.2.4.19 rules wildcards out
        "dns-01": Method(dns01.check, wildcard=True),
    }
)
