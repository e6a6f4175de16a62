"""Listeners on every inner address of a perspective: whoever is lured inside is counted here."""

from __future__ import annotations

import asyncio
import functools
import socket

from tests.world.net import Net
from tests.world.threads import LoopThread

PORTS = (22, 80, 443, 6379, 8080)


class Trap:
    """Listens at `place` on all addresses while the context is open; `caught` are the addresses reached."""

    def __init__(self, net: Net, place: str) -> None:
        self._net = net
        self._place = place
        self._loop = LoopThread()
        self._open: list[asyncio.Server] = []
        self.caught: list[str] = []

    def __enter__(self) -> Trap:
        self._loop.start()
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for port in PORTS:
                sock = self._net.inside(self._place, functools.partial(_bound, family, address, port))
                self._open.append(self._loop.run(asyncio.start_server(self._count, sock=sock)))
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.stop(self._open)

    def bait(self, address: str, port: int = 80) -> None:
        """Connect from `place` as somebody would who is lured.  Raises OSError."""
        self._net.inside(self._place, lambda: socket.create_connection((address, port), 2).close())

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.caught.append(writer.get_extra_info("sockname")[0])
        writer.close()


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port))
    return made
