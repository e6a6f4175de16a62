"""What the operator's command line may ask the app, which is the database's only writer.

A Unix socket that root and the app's own user may use, nobody else.

Must never: be reachable from a network.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass

from core import certificates
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.errors import Refused
from core.rpc import Method, Peer, RpcClient, RpcServer


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """`serial` as its INTEGER's content octets, `reason` by RFC 5280 section 5.3.1, `actor` who typed it."""

    serial: bytes
    reason: int
    cause: str
    actor: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """The durable revocation."""

    revoked_at: int
    reason: int


REVOKE = Method("revoke", RevokeRequest, Revoked)


def server(database: Database, on_revocation: Callable[[], None]) -> RpcServer:
    """The app's side; `on_revocation` wakes the CRL updater."""

    async def revoke(request: RevokeRequest) -> Revoked:
        actor = f"operator {request.actor}"

        def unit(tx: Transaction) -> certificates.Revocation:
            if request.reason == certificates.KEY_COMPROMISE:
                # The operator's word is the CA's own finding: it may come after another reason, and it binds.
                return certificates.revoke_compromised(tx, request.serial, request.cause, actor=actor)
            return certificates.revoke(tx, request.serial, request.reason, request.cause, actor=actor)

        try:
            revocation = await database.write(unit)
        except certificates.AlreadyRevoked as error:
            raise Refused("revocation.already", str(error)) from error
        except certificates.UnknownCertificate as error:
            raise Refused("revocation.unknown", str(error)) from error
        except ValueError as error:
            raise Refused("revocation.reason", str(error)) from error
        on_revocation()
        return Revoked(revocation.revoked_at, revocation.reason)

    async def record_refusal(peer: Peer, method: str) -> None:
        await database.write(
            lambda tx: tx.audit("access.operator-socket", f"uid {peer.uid}", {"method": method})
        )

    answering = RpcServer(_ours, record_refusal)
    answering.add(REVOKE, revoke)
    return answering


async def revoke(data: DataDirectory, serial: bytes, reason: int, cause: str) -> Revoked:
    """The command line's side.  Raises `Refused`, or `TransientError` when no app runs here."""
    client = RpcClient(data.app_socket)
    try:
        return await client.call(REVOKE, RevokeRequest(serial, reason, cause, getpass.getuser()))
    finally:
        await client.close()


def _ours(peer: Peer, method: str) -> bool:
    return peer.uid in (0, os.geteuid())
