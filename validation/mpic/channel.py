"""The way from the coordinator to one perspective, whatever it is made of.

A perspective on this machine is reached by its Unix socket, one elsewhere by mutual TLS; the coordinator
(client.py) does not know which.  BR 3.2.2.9 asks for an authenticated, encrypted channel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from core.data_directory import DataDirectory
from core.errors import TransientError
from core.rpc import RpcClient
from core.settings import Perspective, Settings
from validation.api import (
    CHECK,
    HEALTH,
    PREFLIGHT,
    CheckRequest,
    Health,
    HealthRequest,
    Looked,
    PreflightRequest,
    Preview,
)
from validation.mpic.remote_channel import CoordinatorIdentity, RemoteChannel


class Channel(Protocol):
    """Asks one perspective."""

    async def check(self, request: CheckRequest) -> Looked:
        """Its statement, unverified, with its facts.

        Raises: `TransientError` when there is none to be had, `Refused` when the perspective will not answer
        this request, ValueError when what came back is no statement, `HaltIssuance` when its clock stepped
        back.
        """

    async def preflight(self, request: PreflightRequest) -> Preview:
        """What it met.  Raises: `TransientError`, `Refused`, `HaltIssuance`, as `check`."""

    async def close(self) -> None:
        """Drop the connections."""

    async def health(self) -> Health:
        """Its account of itself.  Raises `TransientError` when there is none."""

    def distrust(self, why: str) -> None:
        """Do not ask it any more, because of `why`; "" asks it again."""

    def pin(self, public_key: bytes) -> None:
        """Let only statements by this key (SubjectPublicKeyInfo) count."""


def channels(data: DataDirectory, settings: Settings, deadline: float) -> dict[str, Channel]:
    """The way to each perspective of the settings, by its code; a call takes `deadline` seconds at most."""
    own = CoordinatorIdentity(data.mpic)

    def to(one: Perspective) -> Channel:
        if one.url:
            return RemoteChannel(one, settings.mpic.zone, own, settings.ca.caa_identities, deadline)
        return LocalChannel(data.perspective_socket(one.code), deadline, data.perspectives)

    return {one.code: to(one) for one in settings.validation.perspectives}


class LocalChannel:
    """A perspective of this machine.  `owner` is the directory whose owner it runs as (core/rpc.py)."""

    def __init__(self, socket: Path, timeout: float, owner: Path) -> None:
        self._client = RpcClient(socket, timeout, owner)
        self._distrusted = ""

    async def check(self, request: CheckRequest) -> Looked:
        if self._distrusted:
            raise TransientError(f"it is not used: {self._distrusted}")
        return await self._client.call(CHECK, request)

    async def preflight(self, request: PreflightRequest) -> Preview:
        if self._distrusted:
            raise TransientError(f"it is not used: {self._distrusted}")
        return await self._client.call(PREFLIGHT, request)

    async def health(self) -> Health:
        return await self._client.call(HEALTH, HealthRequest())

    def distrust(self, why: str) -> None:
        self._distrusted = why

    def pin(self, public_key: bytes) -> None:
        """Nothing: its user owns the socket, which says what the signature would; the vault verifies that."""

    async def close(self) -> None:
        await self._client.close()
