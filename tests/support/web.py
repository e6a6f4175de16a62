"""Web servers on loopback for validation's tests: scripted octets in, connections counted."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

Behaviour = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""(request head, reader, writer): what the server does after it has read the request."""


class WebServer:
    """Serves one behaviour; `requests` are the heads that came, `connections` how many connected."""

    def __init__(
        self, behaviour: Behaviour, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self._behaviour = behaviour
        self._host = host
        self._tls = tls
        self.port = port
        self.connections = 0
        self.requests: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> WebServer:
        self._server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            await self._behaviour(head, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


def octets(raw: bytes) -> Behaviour:
    """Sends `raw` and closes."""

    async def behave(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return behave


def response(body: bytes, status: str = "200 OK", *fields: str) -> Behaviour:
    """A complete response."""
    return octets(head(status, f"Content-Length: {len(body)}", *fields) + body)


def head(status: str, *fields: str) -> bytes:
    """Status line and fields."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "Connection: close", "", ""]).encode()


def redirect(location: str, status: str = "302 Found") -> Behaviour:
    """A redirect."""
    return response(b"elsewhere", status, f"Location: {location}")


def routes(table: dict[str, Behaviour]) -> Behaviour:
    """By "host path"; 404 for the rest."""

    async def behave(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = text.split(" ")[1]
        host = next(line[6:] for line in text.split("\r\n") if line.lower().startswith("host: "))
        await table.get(f"{host} {path}", response(b"", "404 Not Found"))(text, reader, writer)

    return behave


async def reset(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Breaks the connection off with RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silence(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing until the client has gone."""
    await reader.read()


async def drip(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One octet of an endless header at a time, as fast as the client's read timeout never fires."""
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not reader.at_eof():
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_body(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One octet of a body at a time."""
    writer.write(head("200 OK", "Content-Length: 100"))
    while not reader.at_eof():
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.5)


async def endless(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A chunked body without end."""
    writer.write(head("200 OK", "Transfer-Encoding: chunked"))
    while True:
        writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        await writer.drain()
