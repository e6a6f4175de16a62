"""Whose request is it, and did it come by TLS: the client's address and scheme, behind proxies too.

A header that names a client is believed only from a network of `acme.trusted_proxies`, and only the part of
it that such a proxy wrote: each appends the address that it was asked from, so the client is the last one
that is no trusted proxy, and all before it is hearsay.

Must never: believe a header of anybody else; raise for what a stranger wrote.

RFC 7239 (Forwarded).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from core.addresses import Blocks, parsed
from core.settings import Acme

HOPS = 16
"""Proxies that are followed; a longer chain is a stranger's invention."""

HEADER_LENGTH = 4096
"""Characters at the end of the header that are read: a stranger may send much more in front of them."""

# RFC 7239 section 4: parameters of an element, of which "for" is the one that was asked from.
_PARAMETER = r'(?:^|;)\s*{}=("[^"]*"|[^;"\s]+)\s*(?:;|$)'
_FOR = re.compile(_PARAMETER.format("for"), re.IGNORECASE)
_PROTO = re.compile(_PARAMETER.format("proto"), re.IGNORECASE)


class Headers(Protocol):
    """The fields of a request, ignoring case."""

    def getall(self, key: str, default: list[str]) -> list[str]: ...


class Addresses(Blocks):
    """What `acme.trusted_proxies` and `acme.proxy_header` make of a peer."""

    def __init__(self, acme: Acme) -> None:
        super().__init__(acme.trusted_proxies)
        self._header = acme.proxy_header
        self._read = _forwarded if acme.proxy_header.lower() == "forwarded" else _x_forwarded_for

    def client(self, peer: str, headers: Headers) -> str:
        """Whose request came from `peer`, a trusted proxy: its own address when it named nobody."""
        client = peer
        written = ", ".join(headers.getall(self._header, []))
        for hop, named in enumerate(self._read(written[-HEADER_LENGTH:])):
            address = parsed(named)
            if address is None or hop >= HOPS:
                break  # "unknown", or no address at all: the last one that we know it from is its proxy
            client = str(address)
            if not self.is_proxy(client):
                break
        return client

    def came_by_tls(self, peer: str, headers: Headers) -> bool:
        """Whether `peer` is a trusted proxy that was asked by https.

        In X-Forwarded-Proto, or the parameter `proto` where the header is Forwarded; the last one is its own.
        """
        if not self.is_proxy(peer):
            return False
        if self._read is _forwarded:
            written = ", ".join(headers.getall(self._header, []))
            found = _PROTO.search(next(_elements(written[-HEADER_LENGTH:]), ""))
            scheme = "" if found is None else found[1].strip('"')
        else:
            scheme = ", ".join(headers.getall("X-Forwarded-Proto", []))[-HEADER_LENGTH:].rpartition(",")[2]
        return scheme.strip().lower() == "https"


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
