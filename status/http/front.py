"""What all connections of one process share: the responder, their count, the time, the octets around answers.

Requests are answered in *turns*: those that came in one turn of the event loop together, after one look at
the register.  Within a second, and while no revocation commits, the same octets have the same answer: what
was answered is *ready* for who sends the very same request, until either changes.

Must never: take more connections than the limits permit, or keep one whose time is over; answer a request
after a look at the register that was made before it was there.

RFC 9110 section 6.6.1 (Date); RFC 9112; RFC 9919 section 6; docs/adr/0041.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from core.addresses import Blocks
from core.clock import Clock
from core.connections import Connections
from core.errors import CaError
from core.settings import Limits
from status.http.connection import Connection
from status.http.plain import Heads
from status.ocsp.answer import Answer
from status.ocsp.representation import head, http_date
from status.ocsp.request import CertId

LOOK = 1.0
"""Seconds between two looks at the connections: a timer for each would cost more than the look."""

READY = 4096
"""Requests whose responses are kept ready, some 13 MB at most; a stranger who fills this with requests of his
own does so for a second, in which others are answered as if they asked for the first time."""

READY_OCTETS = 1024
"""Of one of these requests: no client of OCSP sends more."""

READY_TIME = 2.0
"""Seconds of the monotonic clock: while the time of day stands still, after a step back, no second ends."""

_log = logging.getLogger(__name__)


class Responder(Protocol):
    """Who answers (`status.ocsp.responder.Responder`)."""

    seen: object

    def look(self) -> None: ...

    def at_hand(self, asked: CertId) -> Answer | None: ...

    async def answer(self, der: bytes, asker: str | None = None) -> Answer: ...


class Front:
    """Makes the connections of one process.

    `handler` gives aiohttp's protocol for a connection that is handed over, and that calls what it was given
    when the connection is gone.
    """

    def __init__(
        self,
        responder: Responder,
        handler: Callable[[Callable[[], None]], asyncio.Protocol],
        limits: Limits,
        blocks: Blocks,
        clock: Clock,
        max_age: int,
    ) -> None:
        self.responder = responder
        self.blocks = blocks
        self.loop = asyncio.get_running_loop()
        self._handler = handler
        self._clock = clock
        self._max_age = max_age
        self._counted = Connections(limits)
        self._here: set[Connection] = set()
        self.heads = Heads()
        self.ready: dict[bytes, bytes] = {}
        """Whole requests and their responses, of this second and this state of the register."""
        self._ready_of: object = None
        self._ready_until = 0.0
        self._waiting: list[Connection] = []
        self._second = -1
        self._tail = b""
        self._now()

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self)

    def __len__(self) -> int:
        """How many connections there are, those handed over included."""
        return len(self._counted)

    def came(self, connection: Connection, block: str | None) -> bool:
        """A connection is there; whether it is one too many."""
        self._here.add(connection)
        return self._counted.came(block)

    def went(self, connection: Connection, block: str | None) -> None:
        """It is gone."""
        self._here.discard(connection)
        self._counted.went(block)

    def handed(self, connection: Connection, block: str | None) -> asyncio.Protocol:
        """The protocol that has the connection from now on; it still counts."""
        self._here.discard(connection)
        return self._handler(lambda: self._counted.went(block))

    def gather(self, connection: Connection) -> None:
        """Something came from the connection: it is served with all that came in this turn of the loop."""
        if not self._waiting:
            self.loop.call_soon(self.turn)
        self._waiting.append(connection)

    def turn(self) -> None:
        """Serve all that are gathered, after one look at the register."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self.responder.look()
        state, at = (self._now(), self.responder.seen), self._clock.monotonic()
        if state != self._ready_of or state[1] is None or at >= self._ready_until:
            self.ready.clear()
            self._ready_of, self._ready_until = state, at + READY_TIME
        for each in waiting:
            try:
                each.serve()
            except Exception:
                _log.exception("a connection of a relying party failed")
                each.expire()

    def remember(self, request: bytes, response: bytes) -> None:
        """Keep the response to a whole request that was made in this turn from what the register says.

        When the register could not be read for it, it may be overruled by what is known already.
        """
        if self.responder.seen is not None and len(request) <= READY_OCTETS and len(self.ready) < READY:
            self.ready[request] = response

    async def look(self) -> None:
        """End what is over, now and then, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            now = self.loop.time()
            for each in [each for each in self._here if each.deadline <= now]:
                each.expire()

    def close(self) -> None:
        """Let all connections end."""
        self.turn()
        for each in list(self._here):
            each.close()

    def whole(self, answer: Answer, new: bool, keep: bool) -> bytes:
        """The response with the answer; `new` is HTTP/1.1, `keep` keeps the connection."""
        now = self._now()
        return b"".join((_OK[new, keep], head(answer, now, self._max_age), self._tail, answer.der))

    def unchanged(self, answer: Answer, new: bool, keep: bool) -> bytes:
        """The 304 for who has the answer already (RFC 9110 section 15.4.5)."""
        lines = head(answer, self._now(), self._max_age).splitlines(keepends=True)
        return b"".join((_NOT_MODIFIED[new, keep], *lines[2:], self._tail))

    def _now(self) -> int:
        try:
            now = self._clock.latest()
        except CaError:
            now = self._second  # a clock that stepped back has the time before, here
        if now != self._second:
            self._second = now
            self._tail = (
                b"Date: %b\r\nServer: acme-server\r\nX-Content-Type-Options: nosniff\r\n\r\n" % http_date(now)
            )
        return now


def _status_lines(status: bytes) -> dict[tuple[bool, bool], bytes]:
    """(HTTP/1.1, keep the connection) -> status line and Connection (RFC 9112 section 9.3)."""
    return {
        (True, True): b"HTTP/1.1 " + status + b"\r\n",
        (True, False): b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n",
        (False, True): b"HTTP/1.0 " + status + b"\r\nConnection: keep-alive\r\n",
        (False, False): b"HTTP/1.0 " + status + b"\r\n",
    }


_OK = _status_lines(b"200 OK")
_NOT_MODIFIED = _status_lines(b"304 Not Modified")
