"""The DNS for validation's tests: a resolver by table, and a name server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import cast

import dns.message

from tests.world.addresses import free_port
from validation.dns.resolver import Answer, LookupFailure, Type

Entry = Exception | Iterable[str | bytes] | None
"""Records (addresses as text, TXT as octets, CAA as RDATA), None for NXDOMAIN, or what is raised."""


class TableResolver:
    """Answers from a table keyed by "name TYPE"; a name that has no entry at all exists without records."""

    def __init__(self, table: Mapping[str, Entry] | None = None, ttl: int = 60) -> None:
        self.table: dict[str, Entry] = dict(table or {})
        self.ttl = ttl
        self.asked: list[str] = []

    async def lookup(self, name: str, type: Type) -> Answer:
        self.asked.append(f"{name} {type}")
        entry = self.table.get(f"{name} {type}", ())
        if isinstance(entry, Exception):
            raise entry
        records = tuple(rdata(type, record) for record in entry or ())
        return Answer(name, type, entry is not None, records, self.ttl, True, (), "table")


def rdata(type: Type, record: str | bytes) -> bytes:
    """RDATA in wire form."""
    if type in (Type.A, Type.AAAA):
        assert isinstance(record, str)
        return ip_address(record).packed
    octets = record.encode() if isinstance(record, str) else record
    if type == Type.CAA:
        return octets
    return b"".join(
        bytes([len(octets[at : at + 255])]) + octets[at : at + 255]
        for at in range(0, max(len(octets), 1), 255)
    )


def caa(flags: int, tag: str, value: str | bytes) -> bytes:
    """A CAA RDATA."""
    octets = value.encode() if isinstance(value, str) else value
    return bytes([flags, len(tag)]) + tag.encode() + octets


def failure(name: str = "x", type: Type = Type.CAA) -> LookupFailure:
    """What a SERVFAIL becomes."""
    return LookupFailure(name, type, "SERVFAIL")


Script = Callable[[dns.message.Message, bool], bytes | None]
"""(query, came over TCP) -> the octets of the answer, or None for silence."""


class ScriptedServer:
    """A name server on 127.0.0.1 that answers by a script, over UDP and, if wanted, over TCP."""

    def __init__(self, script: Script, *, tcp: bool = True) -> None:
        self._script = script
        self._tcp = tcp
        self.port = 0
        self.queries: list[dns.message.Message] = []

    async def __aenter__(self) -> ScriptedServer:
        loop = asyncio.get_running_loop()
        self._stream: asyncio.Server | None = None
        self.port = free_port()
        if self._tcp:
            self._stream = await asyncio.start_server(self._serve_stream, "127.0.0.1", self.port)
        self._datagrams, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._datagrams.close()
        if self._stream is not None:
            self._stream.close()
            await self._stream.wait_closed()

    def answer(self, wire: bytes, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        self.queries.append(query)
        return self._script(query, tcp)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            reply = self.answer(await reader.readexactly(length), True)
            if reply is not None:
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: ScriptedServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        reply = self._server.answer(data, False)
        if reply is not None:
            self._transport.sendto(reply, source)
