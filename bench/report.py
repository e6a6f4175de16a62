"""Turns measured levels into `report.md` and `report.svg`."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.client import STEPS, Samples
from bench.picture import Bar, Chart, svg

AIM = 0.8
"""CPU per certificate as a multiple of pebble's."""

PEBBLE_DOES_NOT = """\
pebble is a test server, and says so itself. In the same flow it does **not**:

- keep anything: accounts, orders and certificates live in memory and end with the process; ours commits each
  step to disk (SQLite, synchronous=FULL) and journals the use of a key before it is used;
- look at CAA, or demand DNSSEC-validated answers for it;
- lint: ours runs its own profile check and pkilint over every to-be-signed certificate;
- use a token: its key is in the process that parses requests; ours signs in a PKCS#11 token behind a process
  of its own;
- sign or check evidence: ours issues only on statements that the validating perspective signed;
- write an audit trail, check for weak keys, or produce OCSP answers and CRLs of what it issued.
"""


@dataclass(frozen=True, slots=True)
class Round:
    """A part of a level; CPU in seconds over the whole round, memory in octets."""

    seconds: float
    samples: Samples
    server_cpu: float
    client_cpu: float
    resident: int
    processes: int
    rooms: Mapping[str, float]

    @property
    def certificates(self) -> int:
        """Flows that ended with a certificate."""
        return len(self.samples.steps["whole flow"])


@dataclass(frozen=True, slots=True)
class Level:
    """What one server did with so many clients.  Rates and CPU are medians of the rounds."""

    server: str
    clients: int
    rounds: tuple[Round, ...]

    @property
    def certificates(self) -> int:
        """Flows that ended with a certificate."""
        return sum(each.certificates for each in self.rounds)

    @property
    def failures(self) -> list[str]:
        """What went wrong."""
        return [failure for each in self.rounds for failure in each.samples.failures]

    @property
    def rate(self) -> float:
        """Certificates per second."""
        return median(each.certificates / each.seconds for each in self.rounds)

    @property
    def cpu_ms(self) -> float:
        """Server CPU milliseconds per certificate."""
        return self._per_certificate(lambda each: each.server_cpu)

    @property
    def client_cpu_ms(self) -> float:
        """The load client's (and challenge server's) CPU milliseconds per certificate."""
        return self._per_certificate(lambda each: each.client_cpu)

    @property
    def resident(self) -> int:
        """Octets at the end."""
        return self.rounds[-1].resident

    @property
    def processes(self) -> int:
        """At the end."""
        return self.rounds[-1].processes

    def room_ms(self) -> dict[str, float]:
        """CPU milliseconds per certificate, by room."""
        names = sorted({name for each in self.rounds for name in each.rooms})
        return {name: round(self._per_certificate(_spent_in(name)), 2) for name in names}

    def percentile(self, step: str, part: float) -> float:
        """Milliseconds within which `part` of the samples of `step` lie."""
        values = sorted(value for each in self.rounds for value in each.samples.steps[step])
        return 1000 * values[min(len(values) - 1, int(part * len(values)))] if values else float("nan")

    def _per_certificate(self, spent: Callable[[Round], float]) -> float:
        return median(1000 * spent(each) / max(each.certificates, 1) for each in self.rounds)


def _spent_in(name: str) -> Callable[[Round], float]:
    return lambda each: each.rooms.get(name, 0.0)


def write(directory: Path, levels: Sequence[Level], when: str) -> Path:
    """`report.md` and `report.svg` in `directory`; returns the former's path."""
    (directory / "report.svg").write_text(_picture(levels), encoding="utf-8")
    report = directory / "report.md"
    report.write_text(_text(levels, when), encoding="utf-8")
    return report


def _text(levels: Sequence[Level], when: str) -> str:
    lines = [
        "# Full ACME flows: our CA and pebble in the same run",
        "",
        f"Written by `make bench` on {when}. {os.cpu_count()} cores, shared by server, client and resolver;",
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()} ({_build()}).",
        "One flow = newOrder, authorization, http-01, finalize, download; one name, one new P-256 key each.",
        "Both validate through the same validating resolver; the client is the same. CPU is of the server's",
        "whole process tree; the client's own is apart. The servers take turns, round by round; rates and",
        "CPU are medians of the rounds.",
        "",
        "![certificates per second and CPU per certificate](report.svg)",
        "",
        "| server | clients | certificates | failed | cert/s | CPU ms/cert | client CPU ms/cert | RSS MB "
        "| processes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for level in levels:
        lines.append(
            f"| {level.server} | {level.clients} | {level.certificates} | {len(level.failures)} "
            f"| {level.rate:.1f} | {level.cpu_ms:.1f} | {level.client_cpu_ms:.1f} "
            f"| {level.resident / 1e6:.0f} | {level.processes} |"
        )
    lines += ["", *_verdict(levels), "", *_by_room(levels)]
    lines += ["", "## Milliseconds per step (p50 / p95 / p99)", ""]
    lines += ["| server | clients | " + " | ".join(STEPS) + " |", "| --- | ---: |" + " ---: |" * len(STEPS)]
    for level in levels:
        cells = [
            " / ".join(f"{level.percentile(step, part):.0f}" for part in (0.5, 0.95, 0.99)) for step in STEPS
        ]
        lines.append(f"| {level.server} | {level.clients} | " + " | ".join(cells) + " |")
    failures = [
        f"- {level.server}, {level.clients}: {level.failures[0]}" for level in levels if level.failures
    ]
    if failures:
        lines += ["", "## First failure of each level", "", *failures]
    lines += ["", "## What pebble does not do", "", PEBBLE_DOES_NOT]
    return "\n".join(lines)


def _build() -> str:
    """Whose Python: a distribution's is built to be fast, which makes 10 to 15 % (docs/adr/0013)."""
    return "the system's" if sys.base_prefix == "/usr" else "not the system's"


def _by_room(levels: Sequence[Level]) -> list[str]:
    ours = [level for level in levels if level.server == "ours"]
    names = sorted({name for level in ours for name in level.room_ms()})
    if not ours:
        return []
    lines = ["## Where our CPU goes (milliseconds per certificate)", ""]
    lines += ["| clients | " + " | ".join(names) + " |", "| ---: |" + " ---: |" * len(names)]
    for level in ours:
        spent = level.room_ms()
        cells = [f"{spent.get(name, 0.0):.1f}" for name in names]
        lines.append(f"| {level.clients} | " + " | ".join(cells) + " |")
    return lines


def _verdict(levels: Sequence[Level]) -> list[str]:
    by = {(level.server, level.clients): level for level in levels}
    said = []
    for clients in sorted({level.clients for level in levels}):
        ours, pebble = by.get(("ours", clients)), by.get(("pebble", clients))
        if ours and pebble and ours.certificates and pebble.certificates:
            said.append(
                f"- {_plural(clients)}: {ours.cpu_ms / pebble.cpu_ms:.2f} times pebble's CPU per certificate "
                f"(aim: at most {AIM}), {ours.rate / pebble.rate:.2f} times its certificates/s."
            )
    return said


def _plural(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def _picture(levels: Sequence[Level]) -> str:
    def bars(value: str) -> list[Bar]:
        return [
            Bar(f"{level.server}, {_plural(level.clients)}", level.server, getattr(level, value))
            for level in levels
            if level.certificates
        ]

    return svg(
        [
            Chart("Certificates per second (more is better)", "/s", bars("rate")),
            Chart("Server CPU per certificate (less is better)", "ms", bars("cpu_ms")),
        ]
    )
