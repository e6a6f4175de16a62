"""The registered domain of a name: whoever holds it answers for all names below (eTLD+1)."""

from __future__ import annotations

from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList

from core.identifiers import is_address


@lru_cache(maxsize=4096)
def registered_domain(name: str) -> str:
    """That of `name`, with or without "*.", by the public suffix list with its private section.

    The name itself where there is none: an address, a public suffix, a local name.
    """
    base = name.removeprefix("*.")
    if is_address(base):
        return base  # of which the list would make a domain
    return str(_suffixes().privatesuffix(base) or base)


@cache
def _suffixes() -> PublicSuffixList:
    # With the private section: customers of one hosting firm are not each other's neighbours.
    return PublicSuffixList()
