"""`python -m bench.validation`: what a validation costs, at one perspective and with six others.

Everything is on this machine: a signed zone, a validating Unbound that has the answers in its cache, web
and TLS servers in this process, and seven perspectives as their real processes.  CPU is the perspectives'
own, by the kernel's books.  Rounds in turn, medians of them; beside it open-mpic-core's checkers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import uvloop

from bench import validation_report
from bench.processes import cost
from bench.validation_lab import PROMPT, REMOTES, THUMBPRINT, Lab, alone, lab, must_pass, passes
from tests.world.world import World
from validation.mpic.client import Perspectives

KINDS = {"http-01": "http-01", "dns-01": "dns-01", "tls-alpn-01": "tls-alpn-01", "CAA": ""}
"""What is measured, and the method that is asked for; CAA stands beside each of the methods."""

WARM = 3
"""Checks before those that count: connections are made."""

PEER = "open-mpic-core==6.5.0"


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one kind at once: checks/s, and milliseconds of CPU for one."""

    rate: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of checks that are alone, by one way, and of the bench's own CPU for each of them."""

    times: Sequence[float]
    cpu: float


async def primary(made: Lab, kind: str, checks: int, clients: int) -> Rate:
    """`checks` at the primary, `clients` of them under way at any time."""
    client = made.primary()
    pid = made.processes["local"].pid
    waiting = iter([made.request(KINDS[kind]) for _ in range(checks)])

    async def one() -> None:
        for request in waiting:
            await must_pass(client, request)

    before, begun = cost(pid).cpu, time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    seconds, cpu = time.perf_counter() - begun, cost(pid).cpu - before
    await client.close()
    return Rate(checks / seconds, 1000 * cpu / checks)


async def together(made: Lab, kind: str, checks: int, clients: int) -> Rate:
    """The same through the coordinator with six remote perspectives by mutual TLS; CPU of all seven."""
    coordinator = made.coordinator(made.far)
    waiting = iter([made.request(KINDS[kind]) for _ in range(checks)])

    async def one() -> None:
        for request in waiting:
            await _agreed(coordinator, request)

    pids = [process.pid for code, process in made.processes.items() if code not in PROMPT]
    before, begun = sum(cost(pid).cpu for pid in pids), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    seconds, cpu = time.perf_counter() - begun, sum(cost(pid).cpu for pid in pids) - before
    await coordinator.close()
    return Rate(checks / seconds, 1000 * cpu / checks)


async def latency(made: Lab, kind: str, checks: int) -> dict[str, Latency]:
    """One check after the other, by each way in turn."""
    ways = {"one": alone(made.settings), "sockets": made.settings, "tls": made.far}
    ways |= {"prompt sockets": made.near_prompt, "prompt tls": made.prompt}
    coordinators = {way: made.coordinator(settings) for way, settings in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    cpu = dict.fromkeys(ways, 0.0)
    for number in range(checks + WARM):
        for way, coordinator in coordinators.items():
            request = made.request(KINDS[kind])
            begun, worked = time.perf_counter(), time.process_time()
            await _agreed(coordinator, request)
            if number >= WARM:
                times[way].append(1000 * (time.perf_counter() - begun))
                cpu[way] += 1000 * (time.process_time() - worked)
    for coordinator in coordinators.values():
        await coordinator.close()
    return {way: Latency(times[way], cpu[way] / checks) for way in ways}


async def _agreed(coordinator: Perspectives, request) -> None:  # type: ignore[no-untyped-def]
    if not await passes(coordinator, request):
        raise RuntimeError(f"the perspectives did not agree about {request.name}")


def peer(python: str, made: Lab, checks: int, clients: int) -> dict[str, Rate]:
    """open-mpic-core's checkers, in an interpreter with its own packages."""
    asked = {
        "resolver": made.resolver,
        "port": made.port,
        "hosts": [[host.name, host.token, THUMBPRINT] for host in made.hosts],
        "checks": checks,
        "clients": clients,
    }
    script = Path(__file__).with_name("peer_open_mpic.py")
    run = subprocess.run(
        [python, "-I", str(script)], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise RuntimeError(f"the peer did not run: {run.stderr[-2000:]}")
    return {kind: Rate(*figures) for kind, figures in json.loads(run.stdout).items()}


async def bench(
    world: World, python: str, rounds: int, checks: int, clients: int
) -> validation_report.Results:
    """All rounds."""
    rates: dict[str, list[Rate]] = {kind: [] for kind in KINDS}
    fans: dict[str, list[Rate]] = {kind: [] for kind in KINDS}
    peers: dict[str, list[Rate]] = {}
    latencies: dict[str, dict[str, Latency]] = {}
    async with lab(world) as made:
        for _ in range(rounds):
            for kind in KINDS:
                rates[kind].append(await primary(made, kind, checks, clients))
                fans[kind].append(await together(made, kind, max(50, checks // 7), clients))
            if python:
                measured = await asyncio.to_thread(peer, python, made, checks // 2, clients)
                for kind, rate in measured.items():
                    peers.setdefault(kind, []).append(rate)
        for kind in KINDS:
            latencies[kind] = await latency(made, kind, max(50, checks // 5))
    return validation_report.Results(
        at_once=clients,
        remotes=len(REMOTES),
        primary=_medians(rates),
        together=_medians(fans),
        peer=_medians(peers),
        latency={
            kind: {way: _spread(each.times) for way, each in ways.items()} for kind, ways in latencies.items()
        },
        coordinator={way: each.cpu for way, each in latencies["CAA"].items()},
    )


def _medians(rates: Mapping[str, Sequence[Rate]]) -> dict[str, tuple[float, float]]:
    return {
        kind: (median(each.rate for each in several), median(each.cpu for each in several))
        for kind, several in rates.items()
    }


def _spread(times: Sequence[float]) -> tuple[float, float]:
    return median(times), quantiles(times, n=20)[-1]


def environment(directory: Path) -> str:
    """The Python of a new environment with the peer in it."""
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    python = str(directory / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--only-binary", ":all:", PEER], check=True)
    return python


def main() -> None:
    """Parse the arguments, run, write bench/validation.md and .svg."""
    parser = argparse.ArgumentParser(prog="python -m bench.validation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checks", type=int, default=2000, help="of each kind and round, at the primary")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--peer", default="new", help=f"a Python with {PEER}, 'new' to make one, '' for none")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-peer-") as directory,
        World() as world,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        python = environment(Path(directory)) if arguments.peer == "new" else arguments.peer
        results = runner.run(bench(world, python, arguments.rounds, arguments.checks, arguments.clients))
    when = time.strftime("%Y-%m-%d", time.gmtime())
    report = validation_report.write(Path(__file__).parent, results, arguments.rounds, when)
    print(report.read_text())


if __name__ == "__main__":
    main()
