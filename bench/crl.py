"""What a CRL costs with 10 000 to a million entries, beside other makers: a section of bench.status.

The product's own way, end to end: rows of the register, the socket, the vault's checks and lint, a signature
by a token, the publisher's check, the file, the row.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import crl_peers
from bench.crl_app import Ours
from bench.crl_peers import Peer
from bench.picture import Bar, Chart
from bench.status_report import Section
from tests.support.hierarchy import made
from tests.support.vault import RunningVault

SIZES = (10_000, 100_000, 1_000_000)
SHARD = 10_000
"""Entries of a shard where the same number is spread over shards."""

PUBLISHED = 100
"""Revocations whose way to the public is measured, at the largest size in shards."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one run found."""

    ours: Sequence[Ours]
    peers: Sequence[Peer]


def measure(sizes: Sequence[int] = SIZES, published: int = PUBLISHED) -> Found:
    """All sizes as one CRL, and as shards; and the peers."""
    ours = []
    for entries in sizes:
        ours.append(one(entries, 1))
        if entries > SHARD:
            ours.append(one(entries, entries // SHARD, published if entries == max(sizes) else 0))
    peers = [way(entries) for entries in sizes for way in (crl_peers.builder, crl_peers.openssl)]
    return Found(ours, peers)


def one(entries: int, shards: int, published: int = 0) -> Ours:
    """One size, with a hierarchy, a vault and an app of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-crl-") as directory:
        data = made(Path(directory) / "data")
        data.repository.mkdir(exist_ok=True)
        vault = RunningVault(data, arguments=["--set", f"status.crl_shards={shards}"]).start()
        try:
            assert vault.process is not None
            numbers = (vault.process.pid, entries, shards, published)
            told = subprocess.run(
                [sys.executable, "-m", "bench.crl_app", str(data.root), *map(str, numbers)],
                stdout=subprocess.PIPE,
                check=True,
                timeout=600,
            ).stdout
        finally:
            vault.stop()
    found = Ours(**json.loads(told.splitlines()[-1]))
    print(found, flush=True)
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def lines(found: Found) -> list[str]:
    """The tables."""
    told = [
        "Full build: all rows read, encoded, compared, judged by the vault, signed, checked, published, "
        "recorded (and the index page). Re-issue: the same way after one revocation. Memory: the most that "
        "the process held above what it had before.",
        "",
        "| entries | CRLs | octets together | full build | CPU of app, vault | memory of app, vault "
        "| re-issue of one, median | slowest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    told += [
        f"| {each.entries:,} | {each.shards} | {each.octets / 1e6:.2f} MB | {each.full:.2f} s "
        f"| {each.app_cpu:.2f} s, {each.vault_cpu:.2f} s "
        f"| +{each.app_memory:.0f} MB, +{each.vault_memory:.0f} MB "
        f"| {1000 * quantile(each.reissue, 0.5):.0f} ms | {1000 * max(each.reissue):.0f} ms |"
        for each in found.ours
    ]
    for each in found.ours:
        if each.published:
            told += [
                "",
                f"From a committed revocation to the public CRL, {each.entries:,} entries in {each.shards} "
                f"shards, {len(each.published)} revocations, `status.crl_delay` 10 s (half of it gathers): "
                f"median {quantile(each.published, 0.5):.1f} s, p99 {quantile(each.published, 0.99):.1f} s, "
                f"slowest {max(each.published):.1f} s.",
            ]
    told += [
        "",
        "Others, with a key in software and nothing checked afterwards; both begin anew for each CRL:",
        "",
        "| entries | maker | each CRL | memory |",
        "|---|---|---|---|",
    ]
    told += [
        f"| {each.entries:,} | {each.name} | {each.seconds:.2f} s | {each.memory:.0f} MB |"
        for each in found.peers
    ]
    return told


def charts(found: Found) -> list[Chart]:
    """Cost against the number of revoked certificates."""
    drawn = []
    for entries in sorted({each.entries for each in found.ours}):
        bars = []
        for each in found.ours:
            if each.entries == entries:
                what = "one CRL" if each.shards == 1 else f"{each.shards} shards"
                bars.append(Bar(f"{what}, full build", "ours", each.full))
                bars.append(Bar(f"{what}, re-issue", "ours", quantile(each.reissue, 0.5)))
        bars += [Bar(each.name, "peer", each.seconds) for each in found.peers if each.entries == entries]
        drawn.append(Chart(f"A CRL of {entries:,} revoked certificates", "s", bars))
    return drawn


def section(sizes: Sequence[int] = SIZES, published: int = PUBLISHED) -> Section:
    """For bench/status.md."""
    found = measure(sizes, published)
    return Section("CRLs", lines(found), charts(found))
