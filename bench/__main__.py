"""`python -m bench`: full ACME flows against our CA and pebble; writes bench/report.md and report.svg."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.client import AcmeClient, ChallengeServer, make_csr, open_session, run_clients
from bench.peers import Ours, Pebble, Server
from bench.processes import cost, rooms
from bench.report import Level, Round, write
from tests.world.addresses import free_port
from tests.world.world import World

LEVELS = (1, 8, 32, 128)
PEBBLE_CLIENTS = 8
"""pebble 2.4 was seen to hang with 32 clients."""
FLOWS = {1: 60, 8: 240, 32: 480, 128: 768}
ROUNDS = 6
"""A level's flows are done in so many rounds, the servers in turn: whatever else the machine does in a moment
then falls on all of them, and the median of the rounds is told."""
SECONDS = 6.0
"""A round ends after its flows or so many seconds, whichever comes first."""
WARM_UP = 8


class Bench:
    """One server under load, measured round by round."""

    def __init__(self, server: Server, challenges: ChallengeServer) -> None:
        self.server = server
        self._challenges = challenges
        self._names = itertools.count()

    def work(self, count: int) -> list[tuple[str, bytes]]:
        """Names, each in a registered domain of its own (the limit per domain is not what we measure)."""
        names = [f"www.{self.server.name}-{next(self._names)}.many" for _ in range(count)]
        return [(name, make_csr(name)) for name in names]

    async def measure(self, accounts: list[AcmeClient], work: list[tuple[str, bytes]]) -> Round:
        """One round."""
        pid = self.server.pid
        before, client_before, rooms_before = cost(pid), time.process_time(), rooms(pid)
        samples, seconds = await run_clients(accounts, work, self._challenges.answers, SECONDS)
        after, client_after, rooms_after = cost(pid), time.process_time(), rooms(pid)
        return Round(
            seconds=seconds,
            samples=samples,
            server_cpu=after.cpu - before.cpu,
            client_cpu=client_after - client_before,
            resident=after.resident,
            processes=after.processes,
            rooms={name: used - rooms_before.get(name, 0.0) for name, used in rooms_after.items()},
        )


async def level(benches: list[Bench], clients: int, challenges: ChallengeServer) -> list[Level]:
    """All servers, in turn, with so many clients."""
    taking = [each for each in benches if each.server.name == "ours" or clients <= PEBBLE_CLIENTS]
    measured: dict[str, list[Round]] = {each.server.name: [] for each in taking}
    async with contextlib.AsyncExitStack() as sessions:
        accounts: dict[str, list[AcmeClient]] = {}
        for each in taking:
            session = open_session(str(each.server.trust_anchor), clients + 8)
            await sessions.enter_async_context(session)
            accounts[each.server.name] = [
                await AcmeClient.register(session, each.server.directory_url) for _ in range(clients)
            ]
            await run_clients(
                accounts[each.server.name][:WARM_UP], each.work(WARM_UP), challenges.answers, SECONDS
            )
        for _ in range(ROUNDS):
            for each in taking:
                name = each.server.name
                work = each.work(max(FLOWS[clients] // ROUNDS, 1))
                measured[name].append(await each.measure(accounts[name], work))
    levels = [Level(name, clients, tuple(rounds)) for name, rounds in measured.items()]
    for one in levels:
        print(
            f"{one.server}, {clients} clients: {one.rate:.1f} cert/s, {one.cpu_ms:.1f} ms CPU each "
            f"{one.room_ms()}, {len(one.failures)} failed",
            flush=True,
        )
    return levels


async def bench(servers: list[str], levels: list[int], directory: Path) -> list[Level]:
    """Measure `servers` ("ours", "pebble") side by side in one world."""
    measured: list[Level] = []
    http_port = free_port()
    challenges = ChallengeServer()
    await challenges.start("127.0.0.1", http_port)
    with World() as world, contextlib.ExitStack() as running:
        benches = []
        for name in servers:
            start = Ours.start if name == "ours" else Pebble.start
            server: Server = start(directory / name, world.resolver, http_port)
            running.callback(server.stop)
            benches.append(Bench(server, challenges))
        for clients in levels:
            measured += await level(benches, clients, challenges)
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
    sound = all(one.certificates and not one.failures for one in measured)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
