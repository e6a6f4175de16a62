"""`python -m bench`: full ACME flows against our CA and pebble; writes bench/report.md and report.svg."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.client import AcmeClient, ChallengeServer, make_csr, open_session, run_clients
from bench.peers import Ours, Pebble, Server
from bench.processes import cost, rooms
from bench.report import Level, write
from tests.world.addresses import free_port
from tests.world.world import World

LEVELS = (1, 8, 32, 128)
PEBBLE_CLIENTS = 8
"""pebble 2.4 was seen to hang with 32 clients."""
FLOWS = {1: 60, 8: 240, 32: 480, 128: 768}
SECONDS = 30.0
"""A level ends after so many flows or seconds, whichever comes first."""
WARM_UP = 8


async def measure(server: Server, levels: list[int], challenges: ChallengeServer) -> list[Level]:
    """All levels against one server."""
    measured = []
    for clients in levels:
        async with open_session(str(server.trust_anchor), clients + 8) as session:
            print(f"{server.name}: {clients} clients …", end=" ", flush=True)
            accounts = [await AcmeClient.register(session, server.directory_url) for _ in range(clients)]
            names = [f"b{clients}-{number}.example.com" for number in range(FLOWS[clients])]
            work = [(name, make_csr(name)) for name in names]
            warm = [
                (f"w{number}.example.com", make_csr(f"w{number}.example.com")) for number in range(WARM_UP)
            ]
            await run_clients(accounts[:WARM_UP], warm, challenges.answers, SECONDS)
            before, client_before = cost(server.pid), time.process_time()
            rooms_before = rooms(server.pid)
            samples, seconds = await run_clients(accounts, work, challenges.answers, SECONDS)
            after, client_after = cost(server.pid), time.process_time()
            rooms_after = rooms(server.pid)
        level = Level(
            server=server.name,
            clients=clients,
            seconds=seconds,
            samples=samples,
            server_cpu=after.cpu - before.cpu,
            client_cpu=client_after - client_before,
            resident=after.resident,
            processes=after.processes,
            rooms={name: used - rooms_before.get(name, 0.0) for name, used in rooms_after.items()},
        )
        print(f"{level.rate:.1f} cert/s, {level.cpu_ms:.1f} ms CPU each, {len(samples.failures)} failed")
        measured.append(level)
    return measured


async def bench(servers: list[str], levels: list[int], directory: Path) -> list[Level]:
    """Measure `servers` ("ours", "pebble") one after the other in one world."""
    measured: list[Level] = []
    http_port = free_port()
    challenges = ChallengeServer()
    await challenges.start("127.0.0.1", http_port)
    with World() as world:
        for name in servers:
            start = Ours.start if name == "ours" else Pebble.start
            running: Server = start(directory / name, world.resolver, http_port)
            try:
                few = [count for count in levels if name == "ours" or count <= PEBBLE_CLIENTS]
                measured += await measure(running, few, challenges)
            finally:
                running.stop()
    await challenges.stop()
    return measured


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--servers", default="pebble,ours", help="which, comma-separated")
    parser.add_argument("--clients", default=",".join(map(str, LEVELS)), help="levels, comma-separated")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="directory of the report")
    arguments = parser.parse_args()
    levels = [int(count) for count in arguments.clients.split(",")]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        measured = asyncio.run(bench(arguments.servers.split(","), levels, Path(directory)))
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    print(f"report: {write(arguments.output, measured, when)}")
    failed = sum(len(level.samples.failures) for level in measured)
    return 1 if failed or not all(level.certificates for level in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
