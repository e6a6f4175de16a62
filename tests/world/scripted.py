"""Authoritative servers that do what no zone file can say: silence, delay, broken records, rebinding.

One thread serves the zones of the addresses `scripted` (UDP and TCP) and `udp_only`.  Hostile by design; they
answer whoever asks, and keep nothing but the count of questions.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

from tests.world.addresses import Addresses
from tests.world.net import INTERNET, Net
from tests.world.threads import LoopThread
from tests.world.zones import Zone, text

SLOW_SECONDS = 2.5
"""Below the 3 s of one try: but the way to a name takes several such answers."""

TURN_SECONDS = 10
"""As long as the rest of a check takes at most."""

REBOUND = "10.0.0.1"

BROKEN = {
    "odd-tag": b"\x00\x03a-bvalue",
    "empty-tag": b"\x00\x00value",
    "overrun": b"\x00\x20issueca.example",
    "one-octet": b"\x00",
}
"""RDATA of CAA records by label: a tag with a hyphen, none, one longer than the record, and no tag length."""


class ScriptedServers:
    """Served while the context is open, at `place`; `asked` counts the questions by zone."""

    def __init__(
        self,
        net: Net,
        zones: Sequence[Zone],
        addresses: Addresses,
        udp: Sequence[str],
        tcp: Sequence[str],
        place: str = INTERNET,
    ) -> None:
        """`addresses` is what the zones' records mean by theirs; `udp` and `tcp` where to listen."""
        self._net = net
        self._addresses = addresses
        self._listen = {socket.SOCK_DGRAM: udp, socket.SOCK_STREAM: tcp}
        self._place = place
        self._zones = {
            dns.name.from_text(zone.name): dns.zone.from_text(
                text(zone, addresses, 1), zone.name, relativize=False
            )
            for zone in zones
        }
        self.asked: Counter[str] = Counter()
        self._loop = LoopThread()
        self._open: list[asyncio.BaseTransport | asyncio.Server] = []
        self._turned = 0.0

    def __enter__(self) -> ScriptedServers:
        self._loop.start()
        for address in self._listen[socket.SOCK_DGRAM]:
            self._loop.run(self._serve_datagrams(self._socket(address, socket.SOCK_DGRAM)))
        for address in self._listen[socket.SOCK_STREAM]:
            stream = self._socket(address, socket.SOCK_STREAM)
            self._open.append(self._loop.run(asyncio.start_server(self._serve_stream, sock=stream)))
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.stop(self._open)

    def turn(self) -> None:
        """From now on, for a while, names that rebind have an inner address."""
        self._turned = time.monotonic()

    def _socket(self, address: str, kind: socket.SocketKind) -> socket.socket:
        def bound() -> socket.socket:
            made = socket.socket(socket.AF_INET, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, self._net.dns_port))
            return made

        return self._net.inside(self._place, bound)

    async def _serve_datagrams(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
        self._open.append(transport)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            reply = await self.answer(await reader.readexactly(length), tcp=True)
            if reply is not None:
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def answer(self, wire: bytes, *, tcp: bool = False) -> bytes | None:
        """The reply, or None for silence."""
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        apex = next((name for name in self._zones if question.name.is_subdomain(name)), None)
        if apex is None:
            return _plain(query, dns.rcode.REFUSED).to_wire()
        kind = apex.labels[0].decode().partition("-")[0]
        self.asked[apex.to_text(omit_final_dot=True)] += 1
        if kind == "silent":
            return None
        if kind == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        reply = self._look_up(query, apex)
        if kind == "truncated" and question.rdtype in (dns.rdatatype.CAA, dns.rdatatype.TXT) and not tcp:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
        if kind == "lower":
            for rrset in (*reply.question, *reply.answer):
                rrset.name = dns.name.from_text(rrset.name.to_text().lower())
        label = question.name.labels[0].decode().lower()
        if kind == "broken" and question.rdtype == dns.rdatatype.CAA and label in BROKEN:
            rdata = dns.rdata.GenericRdata(dns.rdataclass.IN, dns.rdatatype.CAA, BROKEN[label])
            reply.answer = [dns.rrset.from_rdata(question.name, 1, rdata)]
            reply.authority = []
        if kind == "rebind" and question.rdtype == dns.rdatatype.A and question.name != apex:
            inside = time.monotonic() < self._turned + TURN_SECONDS
            address = REBOUND if inside else self._addresses.web
            reply.answer = [dns.rrset.from_text(question.name, 0, "IN", "A", address)]
        return reply.to_wire()

    def _look_up(self, query: dns.message.Message, apex: dns.name.Name) -> dns.message.Message:
        question, zone = query.question[0], self._zones[apex]
        node = zone.get_node(question.name) or zone.get_node(dns.name.from_text("*", apex))
        reply = _plain(query, dns.rcode.NOERROR)
        found = node.get_rdataset(dns.rdataclass.IN, question.rdtype) if node is not None else None
        if found is not None:
            reply.answer.append(dns.rrset.from_rdata_list(question.name, found.ttl, list(found)))
        else:
            soa = zone.find_rdataset(apex, dns.rdatatype.SOA)
            reply.authority.append(dns.rrset.from_rdata_list(apex, soa.ttl, list(soa)))
        return reply


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, servers: ScriptedServers) -> None:
        self._servers = servers
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(data, source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, source: tuple[str, int]) -> None:
        reply = await self._servers.answer(data)
        if reply is not None:
            self._transport.sendto(reply, source)


def _plain(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    reply.set_rcode(rcode)
    return reply
