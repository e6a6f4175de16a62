"""Calls between our own processes over a Unix socket: typed, multiplexed, batched.

A frame is a 32-bit big-endian length and one msgpack array: `[id, method, params]` from the client,
`[id, kind, body]` from the server, where kind is 0 (result), 1 (refused), 2 (transient) or 3 (halt).
Calls made in one turn of the event loop leave in one write, and so do their answers.

A field `actor` of a request is what its sender calls itself.  A handler finds there who the sender is by the
kernel's word, with that claim beside it (core/caller.py): none can forget to ask.

Must never: carry a Python object that is not one of the dataclasses named by a `Method`; let a handler take
a claim for its caller.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from core import caller
from core.errors import HaltIssuance, Refused, TransientError

P = TypeVar("P")
R = TypeVar("R")

MAX_FRAME = 128 * 1024 * 1024
"""Octets. A full CRL of a million entries is 45 MB (docs/adr/0003); anything larger is a fault."""

ACTOR = "actor"
"""The field of a request that says who asks."""

_LENGTH = struct.Struct(">I")
_PEERCRED = struct.Struct("3i")
_ROOT = 0
_NOBODY = -1
"""The peer of a socket that is not connected: asyncio takes a full queue for a connection."""

_RESULT, _REFUSED, _TRANSIENT, _HALT = range(4)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Method(Generic[P, R]):
    """One procedure: its name on the wire and the dataclasses it takes and gives."""

    name: str
    params: type[P]
    result: type[R]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of the socket, by the kernel's word (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


Allow = Callable[[Peer, str], bool]
OnRefusal = Callable[[Peer, str], Awaitable[None]]
_Handler = Callable[[Peer, bytes], Awaitable[bytes]]


class _Frames(asyncio.Protocol):
    """Cuts a byte stream into frames, and joins the frames of one loop turn into one write."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._inbox = bytearray()
        self._outbox: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transports by duck typing only: an isinstance would say no.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        start = 0
        while len(self._inbox) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._inbox, start)
            if length > MAX_FRAME:
                _log.error("rpc frame of %d octets refused", length)
                assert self.transport is not None
                self.transport.abort()
                return
            end = start + _LENGTH.size + length
            if len(self._inbox) < end:
                break
            self.frame_received(bytes(memoryview(self._inbox)[start + _LENGTH.size : end]))
            start = end
        del self._inbox[:start]

    def frame_received(self, frame: bytes) -> None:
        raise NotImplementedError

    def send(self, frame: bytes) -> None:
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(_LENGTH.pack(len(frame)) + frame)

    def _flush(self) -> None:
        batch, self._outbox = b"".join(self._outbox), []
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(batch)


class RpcServer:
    """Serves methods on one Unix socket.

    `allow` decides by peer and method name who may call what; `on_refusal` records who was refused, before
    the answer leaves and once for each user and method: nobody shall fill a record by asking again.
    """

    def __init__(self, allow: Allow = lambda peer, method: True, on_refusal: OnRefusal | None = None) -> None:
        self._allow = allow
        self._on_refusal = on_refusal
        self._refused: set[tuple[int, str]] = set()
        self._handlers: dict[str, _Handler] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[_ServerConnection] = set()

    def add(self, method: Method[P, R], handler: Callable[[P], Awaitable[R]]) -> None:
        """Serve `method` by `handler`."""
        decoder = msgspec.msgpack.Decoder(method.params)
        encode = msgspec.msgpack.Encoder().encode
        by_actor = is_dataclass(method.params) and ACTOR in {each.name for each in fields(method.params)}

        async def call(peer: Peer, octets: bytes) -> bytes:
            params: Any = decoder.decode(octets)
            if by_actor:
                params = replace(params, actor=caller.named(peer.uid, peer.pid, params.actor))
            return encode(await handler(params))

        self._handlers[method.name] = call

    async def listen(self, path: Path, mode: int = 0o660) -> None:
        """Listen on `path`, replacing a socket that a dead process left there."""
        path.unlink(missing_ok=True)
        umask = os.umask(0o777 & ~mode)
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: _ServerConnection(self._handlers, self._must_be_allowed, self._connections), str(path)
            )
        finally:
            os.umask(umask)

    async def close(self) -> None:
        """Stop listening and drop the connections; answers under way are lost, as in a crash."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.close()

    async def _must_be_allowed(self, peer: Peer, method: str) -> None:
        """Raises `Refused`."""
        if self._allow(peer, method):
            return
        if (peer.uid, method) not in self._refused:
            self._refused.add((peer.uid, method))
            _log.error("uid %d (process %d) may not call %s and was refused", peer.uid, peer.pid, method)
            if self._on_refusal is not None:
                await self._on_refusal(peer, method)
        raise Refused(
            "rpc.forbidden",
            f"uid {peer.uid} may not call {method!r}: be root, or the user of the process that was asked",
        )


class _ServerConnection(_Frames):
    def __init__(
        self,
        handlers: dict[str, _Handler],
        must_be_allowed: OnRefusal,
        connections: set[_ServerConnection],
    ) -> None:
        super().__init__()
        self._handlers = handlers
        self._must_be_allowed = must_be_allowed
        self._connections = connections
        self._tasks: set[asyncio.Task[None]] = set()
        self._peer = Peer(-1, -1, -1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer = _peer(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def frame_received(self, frame: bytes) -> None:
        try:
            number, name, params = _request_decoder.decode(frame)
        except msgspec.MsgspecError:
            _log.error("rpc frame that is no request, from pid %d: connection dropped", self._peer.pid)
            assert self.transport is not None
            self.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._answer(number, name, bytes(params)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, name: str, params: bytes) -> None:
        body: Any
        try:
            if name not in self._handlers:
                raise Refused("rpc.unknown", f"no method {name!r} here")
            await self._must_be_allowed(self._peer, name)
            kind, body = _RESULT, msgspec.Raw(await self._handlers[name](self._peer, params))
        except Refused as error:
            kind, body = _REFUSED, [error.code, error.detail]
        except msgspec.MsgspecError as error:
            kind, body = _REFUSED, ["rpc.malformed", str(error)]
        except HaltIssuance as error:
            kind, body = _HALT, str(error)
        except TransientError as error:
            kind, body = _TRANSIENT, str(error)
        except Exception:
            # The caller learns that we failed, not how: the traceback stays in our own log.
            _log.exception("rpc %s failed", name)
            kind, body = _TRANSIENT, f"{name} failed; its process's log says why"
        self.send(_encode((number, kind, body)))


def _peer(transport: asyncio.BaseTransport) -> Peer:
    sock: socket.socket = transport.get_extra_info("socket")
    return Peer(*_PEERCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)))


_encode = msgspec.msgpack.Encoder().encode
_request_decoder = msgspec.msgpack.Decoder(tuple[int, str, msgspec.Raw])
_reply_decoder = msgspec.msgpack.Decoder(tuple[int, int, msgspec.Raw])


class RpcClient:
    """Calls methods of one server; reconnects by itself, and says `TransientError` while it cannot."""

    def __init__(self, path: Path, timeout: float = 30.0, owner: Path | None = None) -> None:
        """The server is root or whoever owns the directory `owner`, where one is named that exists.

        All of our processes may make sockets in one directory: whoever took over one of them could listen in
        the place of another that is starting again, and be told what only that one may hear.
        """
        self._path = path
        self._timeout = timeout
        self._owner = owner
        self._connection: _ClientConnection | None = None
        self._connecting = asyncio.Lock()

    async def call(self, method: Method[P, R], params: P) -> R:
        """The method's result.

        Raises: `Refused`, `TransientError`, `HaltIssuance` as the server raised them; `TransientError` also
        when the server is away or the connection breaks before the answer (the call may have been done).
        """
        connection = await self._connected()
        waiting = connection.request(method.name, _encode(params))
        try:
            async with asyncio.timeout(self._timeout):
                kind, body = await waiting
        except TimeoutError as error:
            raise TransientError(f"{method.name}: no answer in {self._timeout:.0f} s") from error
        if kind == _RESULT:
            return msgspec.msgpack.decode(body, type=method.result)
        if kind == _REFUSED:
            code, detail = msgspec.msgpack.decode(body, type=tuple[str, str])
            raise Refused(code, detail)
        message = msgspec.msgpack.decode(body, type=str)
        raise HaltIssuance(message) if kind == _HALT else TransientError(message)

    async def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.close()
            self._connection = None

    async def _connected(self) -> _ClientConnection:
        if self._connection is not None and self._connection.alive:
            return self._connection
        async with self._connecting:
            if self._connection is None or not self._connection.alive:
                try:
                    transport, connection = await asyncio.get_running_loop().create_unix_connection(
                        _ClientConnection, str(self._path)
                    )
                except OSError as error:
                    raise TransientError(f"nobody listens at {self._path.name}: {error}") from error
                self._must_be_theirs(transport)
                self._connection = connection
            return self._connection

    def _must_be_theirs(self, transport: asyncio.Transport) -> None:
        if self._owner is None:
            return
        try:
            owner = self._owner.stat().st_uid
        except FileNotFoundError:
            return
        uid = _peer(transport).uid
        if uid == _NOBODY:
            transport.abort()
            raise TransientError(f"{self._path.name} is not accepted yet: too many connect at once")
        if uid not in (_ROOT, owner):
            transport.abort()
            raise TransientError(
                f"{self._path} is not answered by its process (uid {owner}) but by uid {uid}: stop the CA, "
                "find out whose process that is, and remove the socket"
            )


class _ClientConnection(_Frames):
    def __init__(self) -> None:
        super().__init__()
        self.alive = True
        self._next = 0
        self._waiting: dict[int, asyncio.Future[tuple[int, bytes]]] = {}

    def request(self, name: str, params: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._next += 1
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[self._next] = future
        self.send(_encode((self._next, name, msgspec.Raw(params))))
        return future

    def frame_received(self, frame: bytes) -> None:
        number, kind, body = _reply_decoder.decode(frame)
        future = self._waiting.pop(number, None)
        if future is not None and not future.done():
            future.set_result((kind, bytes(body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TransientError("the connection broke before the answer came"))
        self._waiting.clear()
