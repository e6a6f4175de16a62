"""Questions to one recursive resolver: many at once over a connected UDP socket, over TCP what is truncated.

A socket lives as long as a question waits on it and carries no more than `QUESTIONS`: a burst of look-ups
shares one, the next burst has another port, and whoever guesses a port has little time to use it.  A reply
counts only when id and question are those of a question that waits; anything else is ignored.

Must never: judge an answer.  RFC 1035 section 4.2, RFC 5452 section 9, RFC 7766.
"""

from __future__ import annotations

import asyncio
import socket

from core.randomness import Randomness
from validation.dns import dns_message
from validation.dns.dns_message import Malformed

QUESTIONS = 64
"""Per socket: opening one costs as much as a question, shared by so many it costs nothing."""


class Exchange:
    """Asks the resolver at `host` and `port`; `seconds` is for one try over one transport."""

    def __init__(self, host: str, port: int, randomness: Randomness, seconds: float) -> None:
        self._host = host
        self._port = port
        self._randomness = randomness
        self._seconds = seconds
        self._current: _Socket | None = None

    async def ask(self, asked: bytes) -> bytes:
        """The reply to the question section `asked`: a message for which `dns_message.answers` holds.

        Raises: `TimeoutError` for silence; `OSError` when nobody listens there, or we have no
        socket; `Malformed` when the reply is truncated, and over TCP cut off or late.
        """
        number = int.from_bytes(self._randomness.octets(2), "big")
        reply = await self._socket_for(number).ask(number, asked, self._seconds)
        if not dns_message.is_truncated(reply):
            return reply
        # A part of a set is no set: a CAA record that forbids us may be in the other part.
        try:
            async with asyncio.timeout(self._seconds):
                reply = await self._over_tcp(number, asked)
        except TimeoutError as error:
            raise Malformed("truncated, and not to be had over TCP") from error
        if not dns_message.answers(reply, number, asked):
            raise Malformed("truncated, and over TCP an answer to something else")
        return reply

    def _socket_for(self, number: int) -> _Socket:
        # An id that waits already gets another socket: the pair of port and id tells two questions apart.
        if self._current is None or not self._current.takes(number):
            self._current = _Socket(self._host, self._port)
        return self._current

    async def _over_tcp(self, number: int, asked: bytes) -> bytes:
        message = dns_message.query(number, asked)
        # No connection is no fault of the name's: our resolver has no TCP, or we are out of files.
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(len(message).to_bytes(2, "big") + message)
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        except (OSError, EOFError) as error:
            raise Malformed("truncated, and over TCP the answer was cut off") from error
        finally:
            writer.transport.abort()


class _Socket:
    """One connected UDP socket: the kernel drops what other addresses send and reports a dead resolver."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self._room = QUESTIONS
        try:
            self._socket.connect((host, port))
            self._loop.add_reader(self._socket, self._readable)
        except BaseException:
            self._socket.close()
            raise

    def takes(self, number: int) -> bool:
        """Whether a question with this id may go out here."""
        return self._room > 0 and number not in self._waiting

    async def ask(self, number: int, asked: bytes, seconds: float) -> bytes:
        """The first datagram that answers.  Raises `TimeoutError`, `OSError`."""
        answered: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[number] = asked, answered
        self._room -= 1
        timer = self._loop.call_later(seconds, _expire, answered)
        try:
            self._send(dns_message.query(number, asked))
            return await answered
        finally:
            timer.cancel()
            del self._waiting[number]
            if not self._waiting:
                self._room = 0
                self._loop.remove_reader(self._socket)
                self._socket.close()

    def _send(self, message: bytes) -> None:
        try:
            self._socket.send(message)
        except BlockingIOError:
            pass  # Lost, as any datagram may be.
        except OSError as error:
            self._fail(error)

    def _readable(self) -> None:
        # Bounded, so that a flood cannot keep the loop here.
        for _ in range(QUESTIONS):
            try:
                # What is longer than we allowed is cut, and then malformed.
                reply = self._socket.recv(dns_message.UDP_PAYLOAD)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(error)
                return
            number = int.from_bytes(reply[:2], "big")
            asked, answered = self._waiting.get(number, (b"", None))
            if answered is not None and dns_message.answers(reply, number, asked):
                if not answered.done():
                    answered.set_result(reply)
            else:
                # Somebody may be guessing: each guess brings the next port nearer.
                self._room -= 1

    def _fail(self, error: OSError) -> None:
        """ICMP says that nobody is there, which is so for all that wait."""
        self._room = 0
        for _, answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(error)


def _expire(answered: asyncio.Future[bytes]) -> None:
    if not answered.done():
        answered.set_exception(TimeoutError())
