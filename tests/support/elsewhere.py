"""Perspectives on "other hosts" for tests: the private PKI, hosts with their identities, hostile ones.

Each host has a data directory of its own; what they share with the coordinator is the channel's root alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import Clock, SystemClock
from core.data_directory import DataDirectory
from core.evidence import PerspectiveKey, SignedStatement, Statement
from core.randomness import SystemRandomness
from core.settings import Ca, Mpic, Perspective, Rules, Settings, Validation
from operations import mpic_pki
from tests.support.fake_dns import Entry, TableResolver
from validation.api import Health
from validation.keys import public_key_octets
from validation.methods.txt import text_of
from validation.mpic.mutual_tls import COORDINATOR, Identity
from validation.mpic.remote_server import Doors, open_doors
from validation.perspective import make_checker, make_scout

ZONE = "mpic.ca.example"
OURS = "ca.example"
PASSPHRASE = "five words of the keeper"
ACCOUNT = "https://ca.example/acme/account/1"
TOKEN = "evaGxfADs6pSRb2LAv9IZf"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
DIGEST = text_of(hashlib.sha256(f"{TOKEN}.{THUMBPRINT}".encode()).digest()).decode()
METHODS = ("http-01", "dns-01")


class Pki:
    """The channel's root in `directory`, and certificates by it."""

    def __init__(self, directory: Path, zone: str = ZONE, clock: Clock | None = None) -> None:
        self.directory, self.zone = directory, zone
        self.clock = clock or SystemClock()
        mpic_pki.make_root(directory, zone, PASSPHRASE, self.clock, SystemRandomness())

    def coordinator(self, data: DataDirectory) -> None:
        """Give the CA in `data` its identity."""
        self.give(data.mpic, COORDINATOR)

    def give(self, directory: Path, name: str, clock: Clock | None = None) -> Path:
        """A key and a certificate of `name` in `directory`."""
        asked = mpic_pki.request(directory, name, self.zone, SystemRandomness())
        mpic_pki.install(directory, self.certify(name, asked, clock))
        return directory

    def certify(self, name: str, asked: bytes, clock: Clock | None = None) -> bytes:
        return mpic_pki.certify(
            self.directory, name, asked, PASSPHRASE, clock or self.clock, SystemRandomness()
        )


def coordinator_settings(*perspectives: Perspective, rules: Rules = Rules.PRIVATE) -> Settings:
    """Of a CA with these perspectives."""
    return Settings(
        ca=Ca(rules=rules, caa_identities=(OURS,)),
        validation=Validation(perspectives=perspectives),
        mpic=Mpic(zone=ZONE),
    )


class Honest:
    """A perspective with a table for its DNS, behind the real doors."""

    def __init__(self, code: str, identity: Identity, table: dict[str, Entry] | None = None) -> None:
        self.code = code
        self.identity = identity
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.key = PerspectiveKey(self.private_key)
        self.spki = public_key_octets(self.private_key)
        self.resolver = TableResolver(table)
        self.signed: list[Statement] = []
        self.url = ""

    def sign(self, statement: Statement) -> SignedStatement:
        """Remembers what was signed."""
        self.signed.append(statement)
        return self.key.sign(statement)

    @asynccontextmanager
    async def serving(
        self, clock: Clock | None = None, connections: int = 8, port: int = 0
    ) -> AsyncIterator[None]:
        clock = clock or SystemClock()
        settings = Settings(ca=Ca(caa_identities=(OURS,)), validation=Validation(methods=METHODS))
        self.checker = make_checker(settings, self.code, self, self.resolver, clock)

        def health() -> Health:
            return Health(self.code, self.spki, (), "APNIC", self.identity.ends)

        scout = make_scout(settings, self.code, self.resolver, clock)
        self.doors = Doors(self.checker, scout, (OURS,), f"{COORDINATOR}.{ZONE}", health, clock)
        async with open_doors(self.doors, [f"127.0.0.1:{port}"], self.identity, connections, clock) as ports:
            self.url = f"https://127.0.0.1:{ports[0]}"
            yield


Reply = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Hostile:
    """A host with a certificate of the channel that answers whatever the test wants."""

    def __init__(self, context: ssl.SSLContext, reply: Reply) -> None:
        self._context = context
        self._server = web.Server(reply, access_log=None)  # type: ignore[arg-type]
        self.url = ""

    async def __aenter__(self) -> Hostile:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, "127.0.0.1", 0, ssl=self._context)
        self.url = f"https://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        await self._server.shutdown(0.1)
