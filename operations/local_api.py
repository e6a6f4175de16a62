"""What the operator's command line may ask the app, which is the database's only writer.

A Unix socket that root and the app's own user may use, nobody else.

Must never: be reachable from a network.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def call(data: DataDirectory, method: Method[P, R], params: P, timeout: float = TIMEOUT) -> R:
    """The command line's side of any method.  Raises `Refused`, or `TransientError` when no app runs here."""

    async def ask() -> R:
        client = RpcClient(data.app_socket, timeout, owner=data.audit)
        try:
            return await client.call(method, params)
        finally:
            await client.close()

    with asking(data):
        return asyncio.run(ask())


@contextmanager
def asking(data: DataDirectory, more: str = "") -> Iterator[None]:
    """Around whatever asks the app: a `TransientError` tells where no CA answers, and `more`."""
    try:
        yield
    except TransientError as error:
        raise TransientError(
            f"no CA answers in {data.root} ({error}); `acme-server status` says more{more}"
        ) from error


async def block_key(data: DataDirectory, spki_sha256: bytes, cause: str) -> Blocked:
    """The command line's side.  Raises `Refused`, or `TransientError` when no app runs here."""
    client = RpcClient(data.app_socket, owner=data.audit)
    try:
        return await client.call(BLOCK_KEY, BlockRequest(spki_sha256, cause, caller.claimed()))
    finally:
        await client.close()


def _ours(peer: Peer, method: str) -> bool:
    return peer.uid in (0, os.geteuid())
