"""`python -m bench.validation`: what a check costs the perspective, its real process asked over its socket.

Prints checks/s and the CPU time of a check at the perspective.  Names, resolver and web server are on
loopback, the zone is signed, and Unbound has the answers in its cache, so that what is measured is us.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import uvloop

from bench.processes import cost
from core.data_directory import DataDirectory
from core.errors import TransientError
from core.evidence import Result
from core.randomness import SystemRandomness, token
from core.rpc import RpcClient
from tests.world.addresses import free_port
from tests.world.world import World
from validation.api import CHECK, CheckRequest
from validation.keys import generate_key

CODE = "local"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
NAMES = 50
"""Few enough to be in the resolver's cache after the warm-up."""

START_SECONDS = 20.0


class Web(asyncio.Protocol):
    """A web server that answers every challenge with its key authorization, as cheaply as can be."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        body = data.split(b" ", 2)[1].rpartition(b"/")[2] + b"." + THUMBPRINT.encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@dataclass(frozen=True, slots=True)
class Perspective:
    """The running process and the way to ask it."""

    pid: int
    client: RpcClient

    async def check(self, request: CheckRequest) -> None:
        """Ask, and raise RuntimeError unless all passes."""
        statement = (await self.client.call(CHECK, request)).statement()
        seen = [each.result for each in (statement.control, statement.caa) if each is not None]
        if set(seen) != {Result.PASS}:
            raise RuntimeError(f"a check did not pass: {statement}")

    async def measure(self, kind: str, requests: list[CheckRequest], clients: int) -> None:
        """Print one line for `requests`, of which `clients` are under way at any time."""
        waiting = iter(requests)

        async def one() -> None:
            for request in waiting:
                await self.check(request)

        before, begun = cost(self.pid).cpu, time.perf_counter()
        await asyncio.gather(*(one() for _ in range(clients)))
        seconds, cpu = time.perf_counter() - begun, cost(self.pid).cpu - before
        print(
            f"{kind:15} {clients:3} at once: {len(requests) / seconds:6.0f} checks/s, "
            f"{1000 * cpu / len(requests):.2f} ms CPU each"
        )


def http01(number: int) -> CheckRequest:
    """Control by http-01 together with CAA: five look-ups and one GET."""
    drawn = token(SystemRandomness())
    name = f"v{number % NAMES}.example.com"
    return CheckRequest(name, "https://ca.example/account/1", str(number), "http-01", "", drawn, THUMBPRINT)


def caa(number: int) -> CheckRequest:
    """A CAA recheck: three look-ups."""
    return replace(http01(number), method="", caa_method="http-01")


async def bench(data: DataDirectory, world: World, checks: int, clients: int) -> None:
    """Start the perspective of `data`, measure, end it."""
    generate_key(data.perspective(CODE), SystemRandomness())
    port = free_port()
    web = await asyncio.get_running_loop().create_server(Web, "127.0.0.1", port, backlog=1024)
    settings = {
        "validation.resolvers": [world.resolver],
        "validation.http_port": port,
        "validation.allowed_networks": ["127.0.0.0/8"],
    }
    command = [sys.executable, "-m", "operations.process", "perspective", "--code", CODE]
    command += ["--data", str(data.root)]
    for key, value in settings.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    with (data.root / "perspective.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        perspective = Perspective(process.pid, RpcClient(data.perspective_socket(CODE)))
        await ready(perspective)
        for number in range(NAMES):
            await perspective.check(http01(number))
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for kind, make in (("http-01 and CAA", http01), ("CAA alone", caa)):
            for at_once in (1, clients):
                await perspective.measure(kind, [make(number) for number in range(checks)], at_once)
        await perspective.client.close()
    finally:
        process.terminate()
        process.wait(20)
        web.close()


async def ready(perspective: Perspective) -> None:
    """Return when the process answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return await perspective.check(http01(0))
        except TransientError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.validation", description=__doc__)
    parser.add_argument("--checks", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        World() as world,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(bench(DataDirectory(Path(directory)), world, arguments.checks, arguments.clients))


if __name__ == "__main__":
    main()
