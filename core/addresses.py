"""Addresses of peers, and the blocks that they are counted in.

Of IPv6 nobody is given less than a /64, so one address is one of 2^64 that its holder has.

RFC 4291, RFC 6177 (what a site is given of IPv6).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

LINK_BITS = 64
"""Of IPv6: the smallest block that anybody is given (RFC 6177), whose holder has all of its addresses."""

SITE_BITS = 48
"""Of IPv6: the largest block that a site is given without asking."""

ADDRESS_LENGTH = 64
"""Characters: an IPv6 address in full with brackets and a port has 47."""

_Address = IPv4Address | IPv6Address


class Blocks:
    """Which block an address counts in, where `trusted` networks hold the proxies in front of us."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = [ip_network(each) for each in trusted]

    def is_proxy(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        if not self._trusted:
            return False
        found = parsed(address)
        return found is not None and any(found in each for each in self._trusted)

    def block(self, address: str) -> str | None:
        """The block that limits per address count by: an IPv4 address, a /64 of IPv6.

        None for this machine and for trusted proxies, behind which all clients would be one.
        """
        return None if self.is_proxy(address) else _block(address, LINK_BITS)

    def site(self, address: str) -> str | None:
        """The /48 that an address of IPv6 is in, None for others."""
        block = self.block(address)
        return None if block is None or ":" not in block else _block(address, SITE_BITS)


def canonical(peer: str) -> str:
    """The address of a socket's peer in its canonical form: an IPv4 one as such, none with a zone."""
    found = parsed(peer)
    return peer if found is None else str(found)


def parsed(text: str) -> _Address | None:
    """An address, with or without a port, brackets or a zone; None for any other text."""
    return _parse(text) if len(text) <= ADDRESS_LENGTH else None


@lru_cache(maxsize=65536)
def _block(address: str, bits: int) -> str | None:
    found = parsed(address)
    if found is None or found.is_loopback:
        return None
    return str(found) if found.version == 4 else str(IPv6Network((int(found), bits), strict=False))


@lru_cache(maxsize=65536)
def _parse(text: str) -> _Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
