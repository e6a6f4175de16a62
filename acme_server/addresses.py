"""Whose request is it: the client's address, behind proxies too, and the block that it is counted in.

A header that names a client is believed only from a network of `acme.trusted_proxies`, and only the part of
it that such a proxy wrote: each appends the address that it was asked from, so the client is the last one
that is no trusted proxy, and all before it is hearsay.

Must never: believe a header of anybody else; raise for what a stranger wrote.

RFC 7239 (Forwarded); RFC 4291, RFC 6177 (what a site is given of IPv6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Protocol

from core.settings import Acme

HOPS = 16
"""Proxies that are followed; a longer chain is a stranger's invention."""

LINK_BITS = 64
"""Of IPv6: the smallest block that anybody is given (RFC 6177), whose holder has all of its addresses."""

SITE_BITS = 48
"""Of IPv6: the largest block that a site is given without asking."""

_Address = IPv4Address | IPv6Address

HEADER_LENGTH = 4096
"""Characters at the end of the header that are read: a stranger may send much more in front of them."""

ADDRESS_LENGTH = 64
"""Characters: an IPv6 address in full with brackets and a port has 47."""

# RFC 7239 section 4: parameters of an element, of which "for" is the one that was asked from.
_FOR = re.compile(r'(?:^|;)\s*for=("[^"]*"|[^;"\s]+)\s*(?:;|$)', re.IGNORECASE)


class Headers(Protocol):
    """The fields of a request, ignoring case."""

    def getall(self, key: str, default: list[str]) -> list[str]: ...


class Addresses:
    """What `acme.trusted_proxies` and `acme.proxy_header` make of a peer."""

    def __init__(self, acme: Acme) -> None:
        self._trusted = [ip_network(each) for each in acme.trusted_proxies]
        self._header = acme.proxy_header
        self._read = _forwarded if acme.proxy_header.lower() == "forwarded" else _x_forwarded_for

    def is_proxy(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        if not self._trusted:
            return False
        found = _parsed(address)
        return found is not None and any(found in each for each in self._trusted)

    def client(self, peer: str, headers: Headers) -> str:
        """Whose request came from `peer`, a trusted proxy: its own address when it named nobody."""
        client = peer
        written = ", ".join(headers.getall(self._header, []))
        for hop, named in enumerate(self._read(written[-HEADER_LENGTH:])):
            address = _parsed(named)
            if address is None or hop >= HOPS:
                break  # "unknown", or no address at all: the last one that we know it from is its proxy
            client = str(address)
            if not self.is_proxy(client):
                break
        return client

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
    found = _parsed(peer)
    return peer if found is None else str(found)


@lru_cache(maxsize=65536)
def _block(address: str, bits: int) -> str | None:
    found = _parsed(address)
    if found is None or found.is_loopback:
        return None
    return str(found) if found.version == 4 else str(IPv6Network((int(found), bits), strict=False))


def _parsed(text: str) -> _Address | None:
    """An address, with or without a port, brackets or a zone; None for any other text."""
    return _parse(text) if len(text) <= ADDRESS_LENGTH else None


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


def _x_forwarded_for(value: str) -> Iterator[str]:
    """The addresses, the newest first."""
    return reversed(value.split(","))


def _forwarded(value: str) -> Iterator[str]:
    """The "for" of each element, the newest first; "" of one that has none or is no element."""
    for element in _elements(value):
        found = _FOR.search(element)
        yield found[1].strip('"') if found is not None else ""


def _elements(value: str) -> Iterator[str]:
    """What stands between commas outside of quotes, from the right.

    From the left, a quote that a stranger left open would swallow what the proxy has written.
    """
    end, quoted = len(value), False
    for at in range(len(value) - 1, -1, -1):
        if value[at] == '"':
            quoted = not quoted
        elif value[at] == "," and not quoted:
            yield value[at + 1 : end]
            end = at
    yield value[:end]
