"""The same octets to our own server of OCSP and to aiohttp alone, in memory, and what both make of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from core.addresses import Blocks
from core.clock import FakeClock
from core.settings import Limits
from status import app
from status.http import handed
from status.http.front import Front
from status.ocsp.answer import MALFORMED, UNAUTHORIZED, Answer
from status.ocsp.request import CertId, MalformedRequest, read
from status.ocsp.responder import Responder
from status.pages.building import Page
from tests.support.database import NOW

TICKS = 60
"""Turns of the loop in which everything that needs no time has happened."""

GOOD, LIVE, UNKNOWN = 5, 6, 7
"""Serials whose answer lies ready, has to be signed, and is `unauthorized`."""


def request(serial: int = GOOD, algorithm: hashes.HashAlgorithm | None = None) -> bytes:
    """A DER OCSPRequest; its base64 has '+', '/' and '='."""
    algorithm = algorithm or hashes.SHA256()
    size = algorithm.digest_size // 2
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        b"\xfb\xff" * size, b"\x3e\x3f" * size, serial, algorithm
    )
    return builder.build().public_bytes(Encoding.DER)


class Answers:
    """A responder that knows three serials.  `asked` are the askers of what was not ready."""

    def __init__(self, now: int) -> None:
        self.good = Answer(b"good" * 50, now - 100, now + 86400, "ab" * 32)
        self.asked: list[str | None] = []
        self.gate: asyncio.Event | None = None
        self.seen: object = ()
        self.looks = 0

    def look(self) -> None:
        self.looks += 1

    def at_hand(self, asked: CertId) -> Answer | None:
        if asked.serial == bytes([GOOD]):
            return self.good
        return None if asked.serial == bytes([LIVE]) else UNAUTHORIZED

    async def answer(self, der: bytes, asker: str | None = None) -> Answer:
        try:
            asked = read(der)
        except MalformedRequest:
            return MALFORMED
        ready = self.at_hand(asked[0])
        if ready is None:
            self.asked.append(asker)
            await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
        return ready or Answer(b"live" * 60, self.good.this_update, self.good.next_update, "cd" * 32)


class Pipe(asyncio.Transport):
    """A transport without a network: what was written, and whether it is closed."""

    def __init__(self, protocol: asyncio.Protocol, peer: str = "192.0.2.1") -> None:
        super().__init__({"peername": (peer, 40000)})
        self.loop = asyncio.get_running_loop()
        self.protocol: Any = protocol
        self.written = b""
        self.closed = self.aborted = False
        self.reading = True
        protocol.connection_made(self)

    def send(self, octets: bytes) -> None:
        if not self.closed:
            self.protocol.data_received(octets)

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self.protocol)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass(frozen=True)
class Said:
    """What a server wrote, its header fields sorted and without Date, and whether it closed."""

    octets: bytes
    closed: bool


class Pair:
    """Both servers over one responder."""

    def __init__(
        self,
        root: Path,
        limits: Limits | None = None,
        *,
        max_age: int = app.MAX_AGE,
        now: int = NOW,
        pages: Sequence[Page] = (),
    ) -> None:
        self._pages = pages
        self.answers = Answers(now)
        self._root = root
        self._limits = limits or Limits()
        self._max_age = max_age
        self._clock = FakeClock(now)

    async def start(self) -> Pair:
        clock = self._clock
        answers = cast(Responder, self.answers)
        self._runner = web.AppRunner(
            app.build(answers, self._root, clock, self._pages, max_age=self._max_age),
            access_log=None,
            handle_signals=False,
        )
        await self._runner.setup()
        self._handler = handed.handler(self._runner)
        self.front = Front(answers, self._handler, self._limits, Blocks(), clock, self._max_age)
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def ours(self, chunks: Sequence[bytes]) -> Said:
        """What our server says."""
        return await _said(Pipe(self.front()), chunks)

    async def aiohttps(self, chunks: Sequence[bytes]) -> Said:
        """What aiohttp says, asked directly."""
        return await _said(Pipe(self._handler(lambda: None)), chunks)


async def _said(pipe: Pipe, chunks: Sequence[bytes]) -> Said:
    for chunk in chunks:
        pipe.send(chunk)
        # Between the octets of a line nothing happens.
        if len(chunk) > 1 or chunk == b"\n":
            await settle()
    await settle()
    said = Said(canonical(pipe.written), pipe.closed)
    pipe.close()
    await settle()
    return said


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(TICKS):
        await asyncio.sleep(0)


_HEAD = re.compile(rb"(HTTP/\d\.\d \d{3} [^\r\n]*\r\n)((?:[^\r\n]+\r\n)*)\r\n")


def canonical(octets: bytes) -> bytes:
    """Responses with their fields sorted and in lower case, without Date."""

    def sorted_fields(head: re.Match[bytes]) -> bytes:
        lines = (line.partition(b":") for line in head[2].splitlines(keepends=True))
        fields = sorted(name.lower() + b":" + value for name, _, value in lines if name.lower() != b"date")
        return head[1] + b"".join(fields) + b"\r\n"

    return _HEAD.sub(sorted_fields, octets)
