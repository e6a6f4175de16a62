"""The whole of it: names, hosts, and perspectives that look at them, each from a place of its own.

As root every perspective is in a network namespace with an Unbound of its own, the ports are the real ones,
and the address policy has no hole.  Without root all is on loopback with one perspective, loopback is let
through, and what leads inside cannot be shown.

The perspectives are the real processes, under the public rules.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.clock import Clock
from core.configuration import load
from core.data_directory import DataDirectory
from core.evidence import Statement
from core.outcome import Outcome
from core.randomness import Randomness, SystemRandomness
from core.settings import Settings
from tests.support.elsewhere import ZONE, Pki
from tests.world import attacker, namespaces
from tests.world.applicant import ACCOUNT, ATTACKER, THUMBPRINT, TOKEN
from tests.world.namespaces import Namespaces
from tests.world.net import Loopback, Net
from tests.world.servers import Server
from tests.world.web import WebServers
from tests.world.world import World
from validation.api import CheckRequest
from validation.keys import generate_key
from validation.methods import CHECKS
from validation.mpic.channel import LocalChannel
from validation.mpic.client import Perspectives

ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / "deploy" / "public-loopback.toml"
CHECK_SECONDS = 60
DOOR = 8443
"""Where the remote perspectives answer by mutual TLS, besides their sockets."""

Ask = Callable[..., Awaitable[Statement]]


PRIMARY_ONLY = "no network namespaces without root: one perspective, on loopback, which is let through"


@asynccontextmanager
async def asking(data: DataDirectory, code: str) -> AsyncIterator[Ask]:
    """What asks one perspective: name, method, thumbprint of the applicant's key, and account."""
    channel = LocalChannel(data.perspective_socket(code), CHECK_SECONDS, data.perspectives)

    async def ask(name: str, method: str, thumbprint: str = THUMBPRINT, account: str = ACCOUNT) -> Statement:
        request = CheckRequest(name, account, "attempt", method, "", TOKEN, thumbprint)
        return (await channel.check(request)).signed.statement()

    try:
        yield ask
    finally:
        await channel.close()


async def ask_everywhere(
    data: DataDirectory,
    settings: Settings,
    clock: Clock,
    randomness: Randomness,
    name: str,
    method: str,
    thumbprint: str,
) -> Outcome:
    """What all perspectives amount to, by the real coordinator."""
    perspectives = Perspectives(data, settings, clock, randomness)
    try:
        return await perspectives.check(name, ACCOUNT, method, TOKEN, thumbprint)
    finally:
        await perspectives.close()


class Internet:
    """Runs while the context is open; with or without `perspectives` of its own."""

    def __init__(self, directory: Path | None = None, *, perspectives: bool = True) -> None:
        self._perspectives = perspectives
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="internet-"))
        self.data = DataDirectory(self.directory / "data")
        self.codes = [each.code for each in load(PRESET, ()).validation.perspectives]
        self.namespaces = Namespaces(self.codes) if namespaces.possible() else None
        self.net: Net = self.namespaces or Loopback()
        self.world = World(self.directory / "world", self.net)
        self.web = WebServers(self.net, THUMBPRINT, turn=self.world.scripted.turn)
        self.attacker: WebServers | None = None
        self.processes: dict[str, Server] = {}
        self._stack = ExitStack()

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that differ from the preset's for a CA or a perspective of this Internet."""
        return {
            "validation.methods": list(CHECKS),
            # Of zones that no attacker of ours answers for: what he does is no matter of a resolver's health.
            "validation.canary_bogus": "www.tampered-canary.com",
            "validation.canary_signed": "www.many",
            **self.world.own_unbound(),
            "validation.http_port": self.net.http_port,
            "validation.https_port": self.net.tls_port,
            "validation.tls_alpn_port": self.net.tls_port,
            "validation.allowed_networks": [] if self.namespaces else ["127.0.0.0/8", "::1/128"],
        }

    @property
    def overrides(self) -> list[str]:
        """`changes` as the values of --set."""
        return [f"{key}={json.dumps(value)}" for key, value in self.changes.items()]

    @property
    def settings(self) -> Settings:
        """Of the perspectives: the public preset, at home here."""
        return load(PRESET, self.overrides)

    def __enter__(self) -> Internet:
        try:
            (self.directory / "world").mkdir(parents=True)
            self._stack.enter_context(self.net)
            self._stack.enter_context(self.world)
            self._stack.enter_context(self.web)
            if self.namespaces is not None:
                self.attacker = WebServers(self.net, ATTACKER, namespaces.ATTACKER)
                self._stack.enter_context(self.attacker)
                self._stack.enter_context(attacker.name_server(self.net))
            if self._perspectives:
                self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.stop()
        self._stack.close()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, code: str) -> Server:
        """The process of one perspective, not awaited."""
        words = [sys.executable, "-m", "operations.process", "perspective", "--code", code]
        words += ["--config", str(PRESET), "--data", str(self.data.root)]
        words += [word for override in self.overrides for word in ("--set", override)]
        if self.namespaces and code != self.codes[0]:
            (one,) = [each for each in self.settings.validation.perspectives if each.code == code]
            words += ["--set", f'mpic.listen=["0.0.0.0:{DOOR}"]', "--set", f'mpic.zone="{ZONE}"', "--set"]
            words.append(
                f'validation.perspectives=[{{code="{code}", region="{one.region}", '
                f"latitude={one.latitude}, longitude={one.longitude}}}]"
            )
        place = code if self.namespaces else self.net.perspectives[0]
        self.data.perspective_socket(code).unlink(missing_ok=True)
        self.processes[code] = Server(self.net.command(place, words), self.directory / f"{code}.log", ROOT)
        return self.processes[code]

    @property
    def elsewhere(self) -> Settings:
        """Of a coordinator at the primary's place that asks the remote perspectives by mutual TLS."""
        settings = self.settings
        primary, *remotes = settings.validation.perspectives
        assert self.namespaces is not None
        told = [replace(each, url=f"https://{self.namespaces.address(each.code)}:{DOOR}") for each in remotes]
        return replace(
            settings,
            validation=replace(settings.validation, perspectives=(primary, *told)),
            mpic=replace(settings.mpic, zone=ZONE),
        )

    def told(self) -> dict[str, object]:
        """What another process needs to know."""
        return {
            "data": str(self.data.root),
            "codes": self.codes,
            "overrides": self.overrides,
            "prefix": self.namespaces.prefix if self.namespaces else "",
        }

    def _start(self) -> None:
        running: Sequence[str] = self.codes if self.namespaces else self.codes[:1]
        for code in running:
            generate_key(self.data.perspective(code), SystemRandomness())
        if self.namespaces:
            pki = Pki(self.directory / "channel")
            pki.coordinator(self.data)
            for code in self.codes[1:]:
                pki.give(self.data.channel(code), code)
        for code in running:
            self.start(code)
        for code in running:
            self.processes[code].wait_until(self.data.perspective_socket(code).exists)
