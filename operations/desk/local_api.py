"""What the operator's command line may ask the app, which is the database's only writer.

A Unix socket that root and the app's own user may use, nobody else.

Must never: be reachable from a network.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from acme_server.registration import compromise
from core import caller
from core.data_directory import DataDirectory
from core.database import Database
from core.errors import Refused, TransientError
from core.rpc import Method, Peer, RpcClient, RpcServer


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """`spki_sha256` is SHA-256 over the key's SubjectPublicKeyInfo; `cause` why it counts as compromised."""

    spki_sha256: bytes
    cause: str
    actor: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Whether the key was blocked only now; the serial numbers revoked for it, or given its reason."""

    newly: bool
    revoked: tuple[bytes, ...]
    upgraded: tuple[bytes, ...]


TIMEOUT = 30.0
"""Seconds for the app's answer."""

P = TypeVar("P")
R = TypeVar("R")

BLOCK_KEY = Method("block-key", BlockRequest, Blocked)


def server(database: Database, on_revocation: Callable[[], None], wake_jobs: Callable[[], None]) -> RpcServer:
    """The app's side; `on_revocation` wakes the CRL updater, `wake_jobs` the one that tells the vault."""

    async def block_key(request: BlockRequest) -> Blocked:
        if len(request.spki_sha256) != 32:
            raise Refused("key.hash", "a key is named by the SHA-256 of its SubjectPublicKeyInfo, 32 octets")
        actor = f"operator {request.actor}"
        found = await database.write(
            lambda tx: compromise.prove(tx, request.spki_sha256, request.cause, actor=actor),
            at_any_time=True,
        )
        on_revocation()
        wake_jobs()
        return Blocked(found.blocked, found.revoked, found.upgraded)

    async def record_refusal(peer: Peer, method: str) -> None:
        await database.write(
            lambda tx: tx.audit("access.operator-socket", f"uid {peer.uid}", {"method": method})
        )

    answering = RpcServer(_ours, record_refusal)
    answering.add(BLOCK_KEY, block_key)
    return answering


class Connection:
    """The command line's side of one running CA, for one call after the other."""

    def __init__(self, data: DataDirectory, timeout: float = TIMEOUT) -> None:
        self.data = data
        self._client = RpcClient(data.app_socket, timeout, owner=data.audit)

    async def call(self, method: Method[P, R], params: P) -> R:
        """Raises `Refused`, or `TransientError` when no app runs here."""
        return await self._client.call(method, params)

    async def close(self) -> None:
        """Close it."""
        await self._client.close()


C = TypeVar("C", bound=Connection)


def ask(connection: C, work: Callable[[C], Awaitable[R]], more: str = "") -> R:
    """What `work` gets from the app; the connection is closed.

    Raises `Refused`, or `TransientError`, which tells where no CA answers, and `more`.
    """

    async def asked() -> R:
        try:
            return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(asked())
    except TransientError as error:
        raise TransientError(
            f"no CA answers in {connection.data.root} ({error}); `acme-server status` says more{more}"
        ) from error


def call(data: DataDirectory, method: Method[P, R], params: P, timeout: float = TIMEOUT) -> R:
    """The command line's side of any method.  Raises `Refused`, or `TransientError` when no app runs here."""
    return ask(Connection(data, timeout), lambda app: app.call(method, params))


def block_key(data: DataDirectory, spki_sha256: bytes, cause: str) -> Blocked:
    """The command line's side.  Raises as `call`."""
    return call(data, BLOCK_KEY, BlockRequest(spki_sha256, cause, caller.claimed()))


def _ours(peer: Peer, method: str) -> bool:
    return peer.uid in (0, os.geteuid())
