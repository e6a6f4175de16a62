"""One connection of a relying party, as long as it brings plain OCSP requests.

The first request that is not plain is handed over, with all that was read and not yet answered, to aiohttp's
handler, which has the connection from then on.  So everything that HTTP permits is answered, by the library
that everybody uses; and tests hold both to the same answers, octet by octet.

Must never: answer a request that another reader of HTTP could take for two, or for another one; hold more
than one head and one body of it; wait for a client without a limit.

RFC 9112 section 9 (connections, pipelining); RFC 6960 appendix A; RFC 9919 section 6.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from core.addresses import canonical
from status.http.plain import Fields
from status.ocsp import request as ocsp_request
from status.ocsp.answer import MALFORMED, Answer
from status.ocsp.representation import not_modified

if TYPE_CHECKING:
    from status.http.front import Front

MAX_HEAD = 16384
"""Octets of a head, complete or not; beyond it is refused.  Apache and nginx refuse at 8 to 32 Ki."""

REQUEST_TIME = 10.0
"""Seconds from a request's first octet to its last: it is one packet, or two."""

IDLE_TIME = 15.0
"""Seconds that a connection may wait for its next request; a relying party asks once and goes."""

WRITE_TIME = 20.0
"""Seconds in which a client must have read what waits for it, and in which a signature comes or does not."""

MAX_REQUESTS = 10_000
"""On one connection; then it is closed, so that load is spread anew over workers and hosts."""

TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n"
    b"Server: acme-server\r\n\r\n"
)

_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One client's connection.  `deadline` is the loop's time at which the front ends it (`expire`)."""

    __slots__ = (
        "_asking",
        "_block",
        "_buffer",
        "_front",
        "_full",
        "_gathered",
        "_served",
        "_transport",
        "deadline",
    )

    def __init__(self, front: Front) -> None:
        self._front = front
        self._transport: asyncio.Transport | None = None
        self._block: str | None = None
        self._buffer = b""
        self._asking: asyncio.Task[None] | None = None
        self._full = False
        self._gathered = False
        self._served = 0
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transports by duck typing only.
        self._transport = transport  # type: ignore[assignment]
        self._block = self._front.blocks.block(canonical((transport.get_extra_info("peername") or ("",))[0]))
        self.deadline = self._front.loop.time() + REQUEST_TIME
        if self._front.came(self, self._block):
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._asking is not None:
            self._asking.cancel()
        self._front.went(self, self._block)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
        else:
            self._buffer = data
            if self._asking is None and not self._full:
                self.deadline = self._front.loop.time() + REQUEST_TIME
        self._gather()
        if len(self._buffer) > MAX_HEAD:
            self._front.turn()  # or it grows as long as the kernel has more of it

    def eof_received(self) -> bool:
        """No more comes; what came before is answered before the transport closes itself.

        While the vault signs, or the client does not read, it stays open; the end is told again when reading
        is resumed.
        """
        self._front.turn()
        return self._asking is not None or self._full

    def pause_writing(self) -> None:
        """The client does not read: nothing more is read of it, either."""
        self._full = True
        self.deadline = self._front.loop.time() + WRITE_TIME
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        if self._asking is None:
            self._go_on()

    def expire(self) -> None:
        """The time is over."""
        if self._transport is not None:
            # To close is to wait until what was written is read.
            self._transport.abort()

    def close(self) -> None:
        """The server ends: what is under way may end, no more comes."""
        if self._transport is not None and self._asking is None:
            self._transport.close()

    def serve(self) -> None:
        """Answer what is whole, in the front's turn."""
        self._gathered = False
        transport = self._transport
        if transport is None or transport.is_closing() or self._asking is not None or self._full:
            return
        ready = self._front.ready.get(self._buffer)
        if ready is None or self._served + 1 >= MAX_REQUESTS:
            self._serve()
        else:
            self._buffer = b""
            self._served += 1
            self.deadline = self._front.loop.time() + IDLE_TIME
            transport.write(ready)

    def _gather(self) -> None:
        if not self._gathered and self._asking is None and not self._full:
            self._gathered = True
            self._front.gather(self)

    def _go_on(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self.deadline = self._front.loop.time() + (REQUEST_TIME if self._buffer else IDLE_TIME)
        self._transport.resume_reading()
        if self._buffer:
            self._gather()

    def _serve(self) -> None:
        """Answer all whole requests in the buffer, in their order (RFC 9112 section 9.3.2)."""
        buffer, at, served = self._buffer, 0, self._served
        while self._asking is None and not self._full and at < len(buffer):
            end = buffer.find(b"\r\n\r\n", at)
            if (len(buffer) if end < 0 else end) - at > MAX_HEAD:
                self._refuse()
                return
            if end < 0:
                break
            plain = self._front.heads.read(buffer, at, end)
            if plain is None:
                self._hand_over(buffer[at:])
                return
            tail, new, fields = plain
            body = end + 4
            after = body + (fields.length or 0)
            if after > len(buffer):
                break
            self._served += 1
            keep = (not fields.close if new else fields.keep_alive) and self._served < MAX_REQUESTS
            ready = self._answer(tail, buffer[body:after], new, keep, fields)
            if ready is not None and keep and after - at == len(buffer):
                self._front.remember(buffer, ready)
            # What follows a request that ends the connection is not answered (RFC 9112 section 9.6).
            at = after if keep else len(buffer)
        self._buffer = buffer[at:] if at else buffer
        if self._served > served and self._asking is None and not self._full:
            self.deadline = self._front.loop.time() + (REQUEST_TIME if self._buffer else IDLE_TIME)

    def _answer(self, tail: bytes | None, body: bytes, new: bool, keep: bool, fields: Fields) -> bytes | None:
        """Answer one request, now or when the vault has signed; `keep` keeps the connection.

        What was written, when it is a signed answer that lay ready.
        """
        try:
            der = body if tail is None else ocsp_request.of_path(tail)
            asked = ocsp_request.read(der)
        except ocsp_request.MalformedRequest:
            self._write(MALFORMED, tail is not None, new, keep, fields)
            return None
        answer = None
        if len(asked) == 1:
            try:
                answer = self._front.responder.at_hand(asked[0])
            except Exception as error:  # `answer` meets it again, says so to the client, and logs it
                _log.debug("not at hand: %s", error)
        if answer is None:
            self._wait_for(der, tail is not None, new, keep, fields)
            return None
        written = self._write(answer, tail is not None, new, keep, fields)
        return None if answer.this_update is None else written

    def _wait_for(self, der: bytes, get: bool, new: bool, keep: bool, fields: Fields) -> None:
        async def ask() -> None:
            answer = await self._front.responder.answer(der, self._block)
            self._asking = None
            self._write(answer, get, new, keep, fields)
            if keep and not self._full:
                self._go_on()

        self.deadline = self._front.loop.time() + WRITE_TIME
        if self._transport is not None:
            self._transport.pause_reading()
        self._asking = self._front.loop.create_task(ask())

    def _write(self, answer: Answer, get: bool, new: bool, keep: bool, fields: Fields) -> bytes | None:
        transport = self._transport
        if transport is None:
            return None
        conditional = get and (fields.if_none_match is not None or fields.if_modified_since is not None)
        if conditional and not_modified(answer, fields.if_none_match, fields.if_modified_since):
            octets = self._front.unchanged(answer, new, keep)
        else:
            octets = self._front.whole(answer, new, keep)
        transport.write(octets)
        if not keep:
            transport.close()
        return octets

    def _refuse(self) -> None:
        self._buffer = b""
        if self._transport is not None:
            self._transport.write(TOO_LARGE)
            self._transport.close()

    def _hand_over(self, octets: bytes) -> None:
        transport = self._transport
        assert transport is not None
        handler = self._front.handed(self, self._block)
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(octets)
        self._transport, self._buffer = None, b""  # not before: what fails here is ended by `expire`
