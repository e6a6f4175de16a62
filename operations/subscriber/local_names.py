"""Where hosts are: names below localhost on this machine, whatever DNS says; names that the caller pinned.

RFC 6761 section 6.3: such names never leave the machine, but many resolvers do not know that.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from ipaddress import ip_address

from aiohttp import TCPConnector, ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

CONNECTIONS = 16


class Names(AbstractResolver):
    """The system's resolver, but for the names above.  `pinned` maps host -> address."""

    def __init__(self, pinned: Mapping[str, str] | None = None) -> None:
        self._pinned = dict(pinned or {})
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self._pinned.get(host) or ("127.0.0.1" if host.endswith(".localhost") else "")
        if not address:
            return await self._system.resolve(host, port, family)
        kind = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        await self._system.close()


def connector(context: ssl.SSLContext | bool, pinned: Mapping[str, str] | None = None) -> TCPConnector:
    """For an `aiohttp.ClientSession`."""
    return TCPConnector(resolver=Names(pinned), ssl=context, limit=CONNECTIONS, use_dns_cache=False)
