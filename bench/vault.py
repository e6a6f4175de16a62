"""`python -m bench.vault`: what the vault costs beside its token, and its lint beside pkilint alone.

Writes vault.md and vault.svg.  One run measures all that is compared: the token's own rate in a process of
its own, leaves through a real vault process on the same token, and the linter's three ways over the same
leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import lint, token
from bench.processes import rooms
from bench.vault_report import write
from core.clock import SystemClock
from core.randomness import SystemRandomness
from core.randomness import token as name
from signer import api, serials
from signer.client import Vault
from tests.support.applicant import applicant
from tests.support.hierarchy import evidence, made
from tests.support.software_ca import private_key, spki
from tests.support.vault import RunningVault

CLIENTS = (1, 8, 64)
LEAVES = 600
SECONDS = 8.0
"""A level ends after so many leaves or seconds, whichever comes first."""

WARM_UP = 24
ACCOUNT = "https://localhost/acme/account/1"
DAY = 86400


@dataclass(frozen=True, slots=True)
class Level:
    """Leaves of one issuer from so many clients; CPU in microseconds for each leaf."""

    issuer: str
    clients: int
    rate: float
    vault_cpu: float
    lint_cpu: float
    p50: float
    """Milliseconds from `prepare` to the certificate."""


def requests(issuer: str, count: int) -> list[api.LeafRequest]:
    """As many requests that the vault grants, each with its own name and evidence."""
    now, key = SystemClock().now(), spki(private_key("ec-p256"))
    found = []
    for number in range(count):
        names = (f"shop{number}.localhost",)
        found.append(
            api.LeafRequest(
                issuance_id=name(SystemRandomness()),
                serial=serials.draw(SystemRandomness()),
                issuer_id=issuer,
                profile="tlsserver",
                names=names,
                account_url=ACCOUNT,
                public_key=key,
                not_before=now - 60,
                not_after=now - 60 + 90 * DAY - 1,
                crl_shard=0,
                evidence=evidence(names, ACCOUNT, now),
                applicant=applicant(names, key, ACCOUNT),
            )
        )
    return found


async def level(vault: Vault, pid: int, issuer: str, clients: int) -> Level:
    """Have leaves issued by `clients` that each wait for theirs."""
    waiting = requests(issuer, LEAVES)
    took: list[float] = []
    until = time.monotonic() + SECONDS

    async def client() -> None:
        while waiting and time.monotonic() < until:
            begun = time.monotonic()
            prepared = await vault.prepare(waiting.pop())
            await vault.issue(prepared.token)
            took.append(time.monotonic() - begun)

    before, begun = rooms(pid), time.monotonic()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds, after = time.monotonic() - begun, rooms(pid)
    spent = {room: 1e6 * (after[room] - before.get(room, 0.0)) / len(took) for room in after}
    took.sort()
    rate = len(took) / seconds
    return Level(issuer, clients, rate, spent["vault"], spent.get("lint", 0.0), 1000 * took[len(took) // 2])


async def levels(socket: Path, pid: int) -> list[Level]:
    """All levels, against one vault."""
    vault, found = Vault(socket), []
    try:
        for issuer in ("ec-1", "rsa-1"):
            for wanted in requests(issuer, WARM_UP):
                await vault.issue((await vault.prepare(wanted)).token)
            for clients in CLIENTS:
                found.append(await level(vault, pid, issuer, clients))
                print(found[-1], flush=True)
    finally:
        await vault.close()
    return found


def token_rates(directory: Path) -> list[token.Rate]:
    """Measured by a process that has nothing else to do."""
    told = subprocess.run(
        [sys.executable, "-m", "bench.token", str(directory)], capture_output=True, check=True, timeout=120
    ).stdout
    return [token.Rate(**each) for each in json.loads(told)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.vault", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="directory of the report")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-vault-") as directory:
        data = made(Path(directory) / "data")
        shutil.copytree(data.root, Path(directory) / "token")
        rates = token_rates(Path(directory) / "token")
        print(*(asdict(rate) for rate in rates), sep="\n", flush=True)
        vault = RunningVault(data).start()
        try:
            assert vault.process is not None
            found = asyncio.run(levels(data.vault_socket, vault.process.pid))
        finally:
            vault.stop()
    linted = lint.measure()
    spent = {names: lint.stages(names) for names in lint.COUNTS}
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    print(f"report: {write(options.output, rates, found, linted, spent, lint.crl(), when)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
