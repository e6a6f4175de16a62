"""Turns what bench.vault measured into vault.md and vault.svg."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lint import STAGES, Crl, Lint
from bench.picture import Bar, Chart, svg
from bench.token import Rate

if TYPE_CHECKING:
    from bench.vault import Level

AIM_OVERHEAD = 150
"""Microseconds of the vault's CPU for a signature, beside token and lint, when requests come in batches."""

AIM_LINT = {1: 500, 10: 800}
"""Microseconds for a leaf of so many names on a quiet machine."""


def write(
    directory: Path,
    rates: Sequence[Rate],
    levels: Sequence[Level],
    lint: Sequence[Lint],
    stages: Mapping[int, Mapping[str, float]],
    crl: Crl,
    when: str,
) -> Path:
    """Both files in `directory`; returns the former's path."""
    (directory / "vault.svg").write_text(_picture(rates, levels, lint), encoding="utf-8")
    report = directory / "vault.md"
    report.write_text("\n".join(_lines(rates, levels, lint, stages, crl, when)) + "\n", encoding="utf-8")
    return report


def _lines(
    rates: Sequence[Rate],
    levels: Sequence[Level],
    lint: Sequence[Lint],
    stages: Mapping[int, Mapping[str, float]],
    crl: Crl,
    when: str,
) -> list[str]:
    load = os.getloadavg()[0]
    lines = [
        "# What the vault costs",
        "",
        f"Written by `make bench` on {when}; {os.cpu_count()} cores, load {load:.1f} at the end (above 2",
        "others were at work, and every figure is larger);",
        f"{platform.machine()}, Python {platform.python_version()}, SoftHSM2; private rules, one name.",
        "",
        "![leaves per second, the vault's CPU and the lint](vault.svg)",
        "",
        "## The token alone, and leaves through the vault",
        "",
        "A leaf is `prepare` and `issue`: evidence and applicant verified, key checked, built, profile-",
        "linted, linted by pkilint in a process of its own, journaled twice, signed, verified. CPU in us.",
        "*Verify* is the share of the signatures that the vault verifies: the perspective's statement, the",
        "account's request and the new certificate's own. *Rest* is the vault process less token and verify;",
        "the lint workers' CPU stands apart.",
        "",
        "| issuer | clients | leaves/s | token /s | vault CPU | token | verify | rest | lint | p50 ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    tokens = {rate.issuer: rate for rate in rates}
    for level in levels:
        own = tokens[level.issuer]
        lines.append(
            f"| {level.issuer} | {level.clients} | {level.rate:.0f} | {own.rate:.0f} | {level.vault_cpu:.0f} "
            f"| {own.cpu:.0f} | {_verified(own):.0f} | {_rest(level, own):.0f} | {level.lint_cpu:.0f} "
            f"| {level.p50:.1f} |"
        )
    least = min(_rest(level, tokens[level.issuer]) for level in levels)
    lines += ["", f"The aim is {AIM_OVERHEAD} us, batched; the best level's rest is {least:.0f}.", ""]
    lines += [
        "## The lint of a leaf",
        "",
        "Microseconds of CPU, public rules; each with new names, key, times and serial number; decoding and",
        "filters included; the three ways in turns over the same leaves.",
        "",
        "| names | way | median | best tenth | of pkilint alone | aim |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    alone = {each.names: each.median for each in lint if each.way == "pkilint alone"}
    for each in lint:
        aim = AIM_LINT.get(each.names) if each.way == "profile" else None
        lines.append(
            f"| {each.names} | {each.way} | {each.median:.0f} | {each.best:.0f} "
            f"| {each.median / alone[each.names]:.2f} | {aim or ''} |"
        )
    lines += [
        "",
        "Where a profile's answer goes, in us:",
        "",
    ]
    lines += ["| names | " + " | ".join(STAGES) + " |", "| ---: |" + " ---: |" * len(STAGES)]
    lines += [
        f"| {names} | " + " | ".join(f"{spent[stage]:.0f}" for stage in STAGES) + " |"
        for names, spent in stages.items()
    ]
    per = 1e6 / crl.entries
    lines += [
        "",
        "## A CRL",
        "",
        f"{crl.entries} entries: encoded in {crl.build:.2f} s of CPU ({crl.build * per:.1f} us an entry),",
        f"every octet judged in {crl.check:.2f} s ({crl.check * per:.1f} us an entry);",
        "pkilint sees one entry of each shape.",
    ]
    return lines


def _verified(own: Rate) -> float:
    # A P-256 issuer's signature costs that, too; an RSA one's a fifth of it.
    return own.verify * (3 if own.issuer.startswith("ec") else 2.2)


def _rest(level: Level, own: Rate) -> float:
    return level.vault_cpu - own.cpu - _verified(own)


def _picture(rates: Sequence[Rate], levels: Sequence[Level], lint: Sequence[Lint]) -> str:
    own = [Bar(f"token alone, {rate.issuer}", "pebble", rate.rate) for rate in rates]
    through = [Bar(f"{each.issuer}, {each.clients} clients", "ours", each.rate) for each in levels]
    tokens = {rate.issuer: rate for rate in rates}
    overhead = [
        Bar(f"{each.issuer}, {each.clients} clients", "ours", _rest(each, tokens[each.issuer]))
        for each in levels
    ]
    linted = [
        Bar(f"{each.way}, {each.names} names", "ours" if each.way == "profile" else "pebble", each.median)
        for each in lint
        if each.names < 100
    ]
    return svg(
        [
            Chart("Per second: signatures of the token, leaves through the vault", "/s", [*own, *through]),
            Chart("The vault's CPU for a leaf beside token, verifications and lint", "us", overhead),
            Chart("Lint of a leaf", "us", linted),
        ]
    )
