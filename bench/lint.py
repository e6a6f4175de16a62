"""How long a lint takes: pkilint alone, with our index, with profiles; the same leaves, in turns, in one run.

And what a CRL costs to build and to check, for so many entries.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.settings import Rules
from signer.vault.lint import crl_blocks, linter
from signer.vault.lint.fast import filtered
from signer.vault.lint.fast.split import VARYING, split
from signer.vault.lint.worker import Kind
from signer.vault.templates import leaf
from status.crl.entries import BLOCK, encoded
from tests.support.software_ca import DAY, NOW, leaf_request, private_key, profile, software_ca, spki

COUNTS = {1: 300, 10: 200, 100: 40}
"""Leaves by their number of names."""

CRL_ENTRIES = 100_000
WARM_UP = 3
STAGES = ("take apart", "values and nodes", "pkilint's validators", "filters")


@dataclass(frozen=True, slots=True)
class Lint:
    """Microseconds of CPU for a leaf with so many names: median and best tenth."""

    way: str
    names: int
    median: float
    best: float


@dataclass(frozen=True, slots=True)
class Crl:
    """Seconds of CPU for so many entries."""

    entries: int
    build: float
    check: float


def measure() -> list[Lint]:
    """Public rules, P-256 leaf, each with new names, key, times and serial number; decoding included."""
    fast = linter._linter(Rules.PUBLIC, Kind.LEAF)
    alone, index = fast.without_profile(fast.plain), fast.without_profile(fast.validator)
    ways: dict[str, Callable[[bytes], Any]] = {
        "pkilint alone": lambda octets: linter.run(alone, octets),
        "index": lambda octets: linter.run(index, octets),
        "profile": lambda octets: linter.run(fast, octets),
    }
    found = []
    for names, count in COUNTS.items():
        took: dict[str, list[float]] = {way: [] for way in ways}
        for number, octets in enumerate(leaves(names, count + WARM_UP)):
            for way, lint in ways.items():
                begun = time.thread_time()
                lint(octets)
                if number >= WARM_UP:
                    took[way].append(1e6 * (time.thread_time() - begun))
        for way, times in took.items():
            times.sort()
            found.append(Lint(way, names, times[count // 2], times[count // 10]))
            print(found[-1], flush=True)
    return found


def stages(names: int) -> dict[str, float]:
    """Microseconds of each stage of a profile's answer, as median over leaves of so many names."""
    linter._linter.cache_clear()
    fast = linter._linter(Rules.PUBLIC, Kind.LEAF)
    assert fast.by_profile is not None
    first, *others = leaves(names, COUNTS[names] + WARM_UP)
    for _ in range(WARM_UP):
        linter.run(fast, first)
    made = next(each for each in fast.by_profile._profiles.values() if hasattr(each, "_program"))
    took: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for octets in others:
        marks = [time.perf_counter()]
        _, fields = split(octets, VARYING)
        marks.append(time.perf_counter())
        made._exchange(octets, fields)
        marks.append(time.perf_counter())
        results: list[Any] = []
        for step in made._program:
            step.run(results)
        marks.append(time.perf_counter())
        filtered(fast.filters, results)
        marks.append(time.perf_counter())
        for stage, begun, ended in zip(STAGES, marks, marks[1:], strict=False):
            took[stage].append(1e6 * (ended - begun))
    return {stage: sorted(times)[len(times) // 2] for stage, times in took.items()}


def leaves(names: int, count: int) -> list[bytes]:
    """Of one issuer and profile, different in all that is their own."""
    chance, ca = random.Random(names), software_ca()
    keys = [spki(private_key("ec-p256", number)) for number in range(50)]
    return [
        leaf.dummy_signed(
            leaf.build_tbs(
                ca.issuer,
                profile(),
                leaf_request(
                    serial=b"\x11" + chance.randbytes(15),
                    not_before=NOW + number,
                    not_after=NOW + number + 90 * DAY - 1,
                    public_key=keys[number % len(keys)],
                    names=tuple(f"{chance.randbytes(5).hex()}.acme-shop.com" for _ in range(names)),
                ),
            ),
            ca.issuer,
        )
        for number in range(count)
    ]


def crl(entries: int = CRL_ENTRIES) -> Crl:
    """The entries of a CRL as the register has them, over a year, most with a reason: encoded, and judged."""
    chance = random.Random(1)
    drawn = sorted(
        (b"\x01" + chance.randbytes(16), NOW - chance.randrange(365 * DAY), chance.choice([0, 1, 4, 5]))
        for _ in range(entries)
    )
    gc.collect()
    begun = time.thread_time()
    blocks = [encoded(drawn[at : at + BLOCK]) for at in range(0, entries, BLOCK)]
    built = time.thread_time()
    for block in blocks:
        crl_blocks.judged(block)
    found = Crl(entries, built - begun, time.thread_time() - built)
    print(found, flush=True)
    return found
