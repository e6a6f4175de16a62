"""The app's side of bench/crl.py, in its own process: the product's updater against a real vault.

Prints one line of JSON: seconds, and what the memory of both processes grew by at the most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.processes import rooms
from core import metrics, revocations, tables
from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.settings import Settings
from signer.client import Vault
from signer.reconciliation import Reconciliation
from status.crl.updater import CrlUpdater

ISSUER = "ec-1"
DAY = 86400
REISSUES = 15
PAUSE = 0.4
"""Seconds between two revocations whose way to the public is measured."""


@dataclass(frozen=True, slots=True)
class Ours:
    """Of one size: seconds, CPU seconds of that, MB above what the process had before, octets of all CRLs.

    `reissue` has the seconds of re-issues after one revocation each; `published` the seconds from a committed
    revocation to the public file, with the default `status.crl_delay`.
    """

    entries: int
    shards: int
    full: float
    app_cpu: float
    vault_cpu: float
    app_memory: float
    vault_memory: float
    octets: int
    reissue: list[float]
    published: list[float]


def drawn(entries: int, now: int) -> Iterator[tuple[bytes, int, int]]:
    """Serial number, time and reason of as many revocations over a year, three quarters with a reason."""
    chance = random.Random(1)
    for _ in range(entries):
        yield (
            b"\x01" + chance.randbytes(16),
            now - 60 - chance.randrange(365 * DAY),
            chance.choice([0, 1, 4, 5]),
        )


def fill(path: Path, entries: int, shards: int, now: int) -> None:
    """Write the register's revocations, all published before; their certificates are left out."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO revocations (serial, issuer_id, crl_shard, not_after, revoked_at, reason, cause,"
            " version, published_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, 'the subscriber asked', ?, ?, ?)",
            (
                (serial, ISSUER, number % shards, now + 90 * DAY, at, reason, number + 1, at + 5, at)
                for number, (serial, at, reason) in enumerate(drawn(entries, now))
            ),
        )
        connection.commit()


async def measure(data: DataDirectory, vault_pid: int, entries: int, shards: int, published: int) -> Ours:
    """Fill the register, and have its CRLs issued."""
    clock, settings = SystemClock(), Settings()
    settings = replace(settings, status=replace(settings.status, crl_shards=shards))
    tables.migrate(data.database, clock)
    database, vault = Database(data.database, clock), Vault(data.vault_socket)
    await database.open()
    await Reconciliation(vault, database, settings).put_issuers(await vault.describe())
    await database.close()  # which refuses to go on when somebody else has written
    fill(data.database, entries, shards, clock.now())
    database = Database(data.database, clock)
    await database.open()
    updater = CrlUpdater(database, vault, settings, data, clock)
    before = [_forget_peak(pid) for pid in ("self", str(vault_pid))]
    begun, spent, of_the_vault = time.monotonic(), time.process_time(), rooms(vault_pid)["vault"]
    await updater.update()
    full, app_cpu = time.monotonic() - begun, time.process_time() - spent
    vault_cpu = rooms(vault_pid)["vault"] - of_the_vault
    app, of_vault = (
        (_peak(pid) - had) / 1e6 for pid, had in zip(("self", str(vault_pid)), before, strict=True)
    )
    octets = sum(path.stat().st_size for path in (data.repository / "crl").glob(f"{ISSUER}-*.crl"))
    reissue = [await _reissue(database, updater, number % shards) for number in range(REISSUES)]
    waits = await _published(database, updater, shards, published) if published else []
    await vault.close()
    await database.close()
    return Ours(entries, shards, full, app_cpu, vault_cpu, app, of_vault, octets, reissue, waits)


async def _reissue(database: Database, updater: CrlUpdater, shard: int) -> float:
    """By the product's own metric: without the index page, which is written when the CRL is public."""
    await database.write(lambda tx: _revoke(tx, shard))
    before = _issuing()
    assert await updater.update() == [f"crl/{ISSUER}-{shard}.crl"]
    return _issuing() - before


def _issuing() -> float:
    samples = (sample for metric in metrics.CRL_SECONDS.collect() for sample in metric.samples)
    return next(sample.value for sample in samples if sample.name == "acme_crl_seconds_sum")


async def _published(database: Database, updater: CrlUpdater, shards: int, count: int) -> list[float]:
    running, waits = asyncio.create_task(updater.run()), list[float]()

    async def follow(serial: bytes, begun: float) -> None:
        while revocations.of(database.reader, serial).published_at is None:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        waits.append(time.monotonic() - begun)

    async with asyncio.TaskGroup() as following, asyncio.timeout(count * PAUSE + 120):
        for number in range(count):
            serial = await database.write(lambda tx, number=number: _revoke(tx, number % shards))  # type: ignore[misc]
            updater.wake()
            following.create_task(follow(serial, time.monotonic()))
            await asyncio.sleep(PAUSE)
    running.cancel()
    return waits


def _revoke(tx: Transaction, shard: int) -> bytes:
    serial = b"\x01" + random.randbytes(16)
    tx.execute(
        "INSERT INTO certificates (id, serial, issuer_id, crl_shard, state, profile, names, spki_sha256,"
        " not_before, not_after, versions, created_at)"
        " VALUES (?, ?, ?, ?, 'issued', 'tlsserver', '[]', x'', ?, ?, '{}', ?)",
        (serial.hex(), serial, ISSUER, shard, tx.now, tx.now + 90 * DAY, tx.now),
    )
    revocations.revoke(tx, serial, 1, "the benchmark")
    return serial


def _forget_peak(pid: str) -> int:
    """Octets resident now; the kernel forgets what the most was (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _status(pid, "VmRSS")


def _peak(pid: str) -> int:
    return _status(pid, "VmHWM")


def _status(pid: str, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(prog="python -m bench.crl_app", description=__doc__)
    parser.add_argument("data", type=Path)
    for name in ("vault", "entries", "shards", "published"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    data = DataDirectory(given.data)
    found = asyncio.run(measure(data, given.vault, given.entries, given.shards, given.published))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
