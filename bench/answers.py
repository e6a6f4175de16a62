"""The index of OCSP answers at the scale of ten million certificates: memory, look-ups, writing, a round.

The records are made up (no signature in them verifies); what is measured does not look at them.  The cost of
a signature by the vault is that of a real vault with a real token (`cost`).

Must never: run in CI at full size.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.picture import Bar, Chart
from bench.status_report import Section
from core.answerable import Place
from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.randomness import SystemRandomness
from signer import serials
from signer.api import KeyUse, OcspRequest
from signer.client import Vault
from status.ocsp.index.files import Kept
from status.ocsp.index.index import Index
from status.ocsp.index.records import Frame, Record, answer, key_of, start_of, taken_apart
from status.ocsp.index.writer import Piece, Writer
from tests.support.hierarchy import made
from tests.support.vault import RunningVault

SERIALS = 8_192
LOOK_UPS = 200_000
_open: list[Index] = []
"""Of a worker: what it has mapped stays mapped until its memory is looked at."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds, octets; `pss` and `private` are of one of two workers after its look-ups."""

    certificates: int
    octets: int
    write: float
    opened: float
    find: float
    found: float
    pss: int
    private: int
    shared: int


def measure(certificates: int, workers: int = 2) -> Figures:
    """Write an index about so many certificates and let workers look answers up in it."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_TMP")) as directory:
        root, clock = Path(directory), SystemClock()
        write = _write(root, clock, certificates)
        octets = sum(path.stat().st_size for path in root.glob("segment-*"))
        results = _in_workers(root, clock, certificates, workers)
        opened, find, found, pss, private, shared = results[0]
        return Figures(certificates, octets, write, opened, find, found, int(pss), int(private), int(shared))


def report(figures: Figures) -> str:
    """Markdown."""
    f = figures
    return "\n".join(
        [
            f"| {f.certificates / 1e6:g} M certificates, two answers each | |",
            "| --- | --- |",
            f"| index on the disk | {f.octets / 1e9:.2f} GB, "
            f"{f.octets / f.certificates / 2:.0f} octets an answer |",
            f"| to write all of it, segment by segment | {f.write:.0f} s |",
            f"| to open it | {f.opened * 1e3:.1f} ms |",
            f"| to find an answer | {f.find * 1e6:.1f} µs |",
            f"| to find it and put it together | {f.found * 1e6:.1f} µs |",
            f"| memory of one of two workers | {f.pss / 1e6:.0f} MB (Pss), "
            f"{f.private / 1e6:.0f} MB of it its own; {f.shared / 1e6:.0f} MB mapped and shared |",
            "",
        ]
    )


def _write(root: Path, clock: SystemClock, certificates: int) -> float:
    writer = Writer(root, clock)
    frames = [Frame("ec1", name, b"c" * 60, b"r" * 24, b"a" * 12, b"x" * 500) for name in ("sha1", "sha256")]
    chance, now, spent = random.Random(1), clock.now(), 0.0
    for number, page in enumerate(_pages(certificates)):
        answers = [_kept(frame, serial, now, chance) for serial in page for frame in frames]
        following = (number + 1) * SERIALS
        rest = start_of(_serial(certificates, following)) if following < certificates else None
        started = time.perf_counter()
        writer.replace(number, Piece(answers, now, Place(0, "", 0), 0, rest))
        spent += time.perf_counter() - started
    writer.close()
    return spent


def _pages(certificates: int) -> Iterator[list[bytes]]:
    for at in range(0, certificates, SERIALS):
        yield [_serial(certificates, n) for n in range(at, min(at + SERIALS, certificates))]


def _serial(certificates: int, number: int) -> bytes:
    """Evenly spread, so that the look-ups need no list of them."""
    step = (1 << 128) // (certificates + 1)
    return b"\x01" + (number * step).to_bytes(16, "big")


def _kept(frame: Frame, serial: bytes, now: int, chance: random.Random) -> Kept:
    signature = chance.randbytes(71)
    return frame, Record(key_of(serial, frame.hash_name), 0, now, now + 345_600, now, None, 0, signature)


def _in_workers(root: Path, clock: SystemClock, certificates: int, workers: int) -> list[list[float]]:
    """Each in a process of its own; they tell their memory while all of them still have it."""
    ends = []
    go_read, go_write = os.pipe()
    for number in range(workers):
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                os.write(write, json.dumps(_look_up(root, clock, certificates, number)).encode() + b"\n")
                os.read(go_read, 1)
                os.write(write, json.dumps(_memory()).encode() + b"\n")
                os.read(go_read, 1)
            finally:
                os._exit(0)
        ends.append(os.fdopen(read))
    times = [json.loads(end.readline()) for end in ends]
    os.write(go_write, b"x" * workers)
    memory = [json.loads(end.readline()) for end in ends]
    os.write(go_write, b"x" * workers)
    for _ in range(workers):
        os.wait()
    return [[*one, *two] for one, two in zip(times, memory, strict=True)]


def _look_up(root: Path, clock: SystemClock, certificates: int, seed: int) -> tuple[float, float, float]:
    started = time.perf_counter()
    index = Index(root, clock)
    index.look()
    _open.append(index)
    opened = time.perf_counter() - started
    chance = random.Random(seed)
    for number in range(0, certificates, SERIALS // 2):  # every segment is mapped once
        index.find(_serial(certificates, number), "sha256")
    asked = [_serial(certificates, chance.randrange(certificates)) for _ in range(LOOK_UPS)]
    started = time.perf_counter()
    for serial in asked:
        if index.find(serial, "sha256") is None:
            raise AssertionError("an answer that was written is not found")
    find = (time.perf_counter() - started) / LOOK_UPS
    started = time.perf_counter()
    for serial in asked[: LOOK_UPS // 2]:
        kept = index.find(serial, "sha1")
        assert kept is not None
        answer(*kept)
    return opened, find, (time.perf_counter() - started) / (LOOK_UPS // 2)


def _memory() -> tuple[int, int, int]:
    """Pss and private octets of all, and of the mapped segments what is shared."""
    pss = private = shared = 0
    segment = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word, *rest = line.split()
        if "-" in word and not word.endswith(":"):
            segment = "/segment-" in line
        elif word == "Pss:":
            pss += int(rest[0])
        elif word.startswith("Private_"):
            private += int(rest[0])
        elif segment and word.startswith("Shared_"):
            shared += int(rest[0])
    return pss * 1024, private * 1024, shared * 1024


def cost(batches: int = 20, size: int = 128) -> tuple[float, float]:
    """Seconds for one answer of a renewal round: of the clock, and of the vault's CPU (SoftHSM, P-256)."""
    with tempfile.TemporaryDirectory(prefix="bench-answers-") as directory:
        data = made(Path(directory) / "data")
        running = RunningVault(data).start()
        try:
            assert running.process is not None
            return asyncio.run(_batches(data, running.process.pid, batches, size))
        finally:
            running.stop()


async def _batches(data: DataDirectory, pid: int, batches: int, size: int) -> tuple[float, float]:
    vault, clock = Vault(data.vault_socket), SystemClock()
    issuer = next(each.id for each in (await vault.describe()).issuers if each.use is KeyUse.ISSUING)

    def wanted() -> list[OcspRequest]:
        now = clock.now()
        return [
            OcspRequest(issuer, serials.draw(SystemRandomness()), name, now, now + 345_600, now, 1)
            for _ in range(size // 2)
            for name in ("sha1", "sha256")
        ]

    await vault.sign_ocsp_batch(wanted())  # pkilint sees each shape once
    used, started = cpu(pid), time.perf_counter()
    for _ in range(batches):
        for request, outcome in zip(asked := wanted(), await vault.sign_ocsp_batch(asked), strict=True):
            taken_apart(outcome.der, request, 1)
    seconds = time.perf_counter() - started
    spent = cpu(pid) - used
    await vault.close()
    return seconds / batches / size, spent / batches / size


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def section(certificates: int = 10_000_000) -> Section:
    """For `bench.status`: some ten minutes and 3 GB below BENCH_TMP (or the system's)."""
    figures = measure(certificates)
    each, of_vault = cost()
    rounds = 2 * certificates
    lines = [
        report(figures),
        "A renewal round (each answer judged, built, linted, signed, verified by the vault, taken apart",
        f"by the keeper): {each * 1e6:.0f} µs an answer, {of_vault * 1e6:.0f} µs of it CPU of the vault",
        f"(SoftHSM, P-256). {certificates / 1e6:g} M certificates are {rounds / 1e6:g} M answers a day:",
        f"{rounds / 81_000:.0f} a second, {rounds * of_vault / 81_000:.0%} of a core; as fast as can be,",
        f"{rounds * each / 3600:.1f} h.",
    ]
    chart = Chart(
        "an OCSP answer signed ahead",
        "µs",
        [
            Bar("find it", "ours", figures.find * 1e6),
            Bar("find it, put it together", "ours", figures.found * 1e6),
            Bar("renew it", "ours", each * 1e6),
        ],
    )
    return Section("Answers signed ahead", lines, [chart])


if __name__ == "__main__":
    found = section(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
    print("\n".join(found.lines))
