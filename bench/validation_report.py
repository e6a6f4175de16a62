"""Turns what bench.validation measured into validation.md and validation.svg."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.picture import Bar, Chart, svg

AIM_CPU = 2.0
"""Milliseconds of a perspective's CPU for an http-01 validation with CAA: 500 in a second."""

AIM_ADDED = 5.0
"""Milliseconds that six remote perspectives may add to the median, on loopback."""


@dataclass(frozen=True, slots=True)
class Results:
    """By kind: (checks/s, CPU ms) at the primary, with all together, and of the peer; (median, p95) in ms."""

    at_once: int
    remotes: int
    primary: Mapping[str, tuple[float, float]]
    together: Mapping[str, tuple[float, float]]
    peer: Mapping[str, tuple[float, float]]
    latency: Mapping[str, Mapping[str, tuple[float, float]]]
    coordinator: Mapping[str, float]
    """CPU ms of the coordinator for a CAA check by each way; there the bench's process does nothing else."""


def write(directory: Path, results: Results, rounds: int, when: str) -> Path:
    """Both files in `directory`; returns the former's path."""
    (directory / "validation.svg").write_text(_picture(results), encoding="utf-8")
    report = directory / "validation.md"
    report.write_text("\n".join(_lines(results, rounds, when)) + "\n", encoding="utf-8")
    return report


def _lines(results: Results, rounds: int, when: str) -> list[str]:
    load = os.getloadavg()[0]
    lines = [
        "# What a validation costs",
        "",
        f"Written by `make bench` on {when}; {os.cpu_count()} cores, load {load:.1f} at the end (this",
        "benchmark alone makes about 3; above that others were at work);",
        f"{platform.machine()}, Python {platform.python_version()}.",
        f"Medians of {rounds} rounds in turn, {results.at_once} checks under way at any time.",
        "",
        "Names of three labels in a signed zone, a validating Unbound with warm caches, web and TLS servers",
        "on loopback. A check is control and CAA together, in one signed statement: two address look-ups and",
        "a GET (http-01), one TXT look-up (dns-01), or two address look-ups and a handshake (tls-alpn-01),",
        "and three look-ups for CAA beside each. *CPU* is the perspective's process by the kernel's books;",
        "Unbound, the name servers, the hosts and the bench itself work on the same cores.",
        "",
        "![checks a core can do, ours and open-mpic-core's](validation.svg)",
        "",
        "## One perspective",
        "",
        "| check | checks/s here | CPU ms | checks per core and second | open-mpic-core's | of its CPU |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, (rate, cpu) in results.primary.items():
        theirs = results.peer.get(kind)
        beside = f"{1000 / theirs[1]:.0f} | {cpu / theirs[1]:.2f}" if theirs else "– | –"
        lines.append(f"| {_called(kind)} | {rate:.0f} | {cpu:.2f} | {1000 / cpu:.0f} | {beside} |")
    http = results.primary["http-01"][1]
    caa = results.primary["CAA"][1]
    lines += [
        "",
        f"Aim: at least {1000 / AIM_CPU:.0f} http-01 validations per core and second at the primary, warm: "
        f"{1000 / http:.0f}, {_met(http <= AIM_CPU)}.",
        f"A CAA check of three levels is three look-ups: {3000 / caa:.0f} CAA look-ups per core and second.",
        "",
        "open-mpic-core 6.5.0 runs its checkers in one process that nobody asks from outside; it signs",
        "nothing, looks up no addresses here (it is told them), has no address policy, climbs CAA one level",
        "after the other and enforces no parameter. Its tls-alpn-01 knows port 443 alone: not measured.",
        "",
        f"## With {results.remotes} remote perspectives",
        "",
        "All by the coordinator, as processes on these cores, which then do the work of seven hosts.",
        "",
        "| check | checks/s here | CPU ms of all seven |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {_called(kind)} | {rate:.0f} | {cpu:.2f} |" for kind, (rate, cpu) in results.together.items()
    ]
    lines += [
        "",
        "One check after the other, in milliseconds (median / 95th percentile). *One* is the primary alone,",
        "through the same coordinator. The primary looks first and the six after it, at once; *prompt* are",
        "six that need not look, so that what they add is the fan-out itself: channel, signatures,",
        "coordinator.",
        "",
        "| check | one | six by sockets | added | by mutual TLS | added "
        "| prompt, sockets | added | prompt, TLS | added |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, ways in results.latency.items():
        one = ways["one"]
        cells = "".join(
            f" | {ways[way][0]:.1f} / {ways[way][1]:.1f} | {ways[way][0] - one[0]:.1f}" for way in WAYS
        )
        lines.append(f"| {_called(kind)} | {one[0]:.1f} / {one[1]:.1f}{cells} |")
    cpu = results.coordinator
    added = {way: results.latency["http-01"][way][0] - results.latency["http-01"]["one"][0] for way in WAYS}
    lines += [
        "",
        f"Aim: six remotes add less than {AIM_ADDED:.0f} ms to the median of http-01 on loopback: "
        f"{added['sockets']:.1f} ms by sockets, {_met(added['sockets'] < AIM_ADDED)}; "
        f"{added['tls']:.1f} ms by mutual TLS, {_met(added['tls'] < AIM_ADDED)}; the fan-out itself "
        f"{added['prompt sockets']:.1f} ms by sockets, {_met(added['prompt sockets'] < AIM_ADDED)}, and "
        f"{added['prompt tls']:.1f} ms by mutual TLS, {_met(added['prompt tls'] < AIM_ADDED)}.",
        f"The seven checks share {os.cpu_count()} cores with their hosts and name servers, so that most of",
        "what real ones add is the work of the six, which in earnest is done by six hosts side by side. The",
        f"coordinator's own CPU for a check of CAA is {cpu['one']:.2f} ms with one perspective,",
        f"{cpu['sockets']:.2f} ms with six more by sockets and {cpu['tls']:.2f} ms by mutual TLS.",
    ]
    return lines


WAYS = ("sockets", "tls", "prompt sockets", "prompt tls")


def _called(kind: str) -> str:
    return "CAA alone" if kind == "CAA" else f"{kind} and CAA"


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _picture(results: Results) -> str:
    bars = []
    for kind, (_, cpu) in results.primary.items():
        bars.append(Bar(_called(kind), "ours", 1000 / cpu))
        if kind in results.peer:
            bars.append(Bar("open-mpic-core", "peer", 1000 / results.peer[kind][1]))
    latency = results.latency["http-01"]
    waits = [
        Bar("the primary alone", "ours", latency["one"][0]),
        Bar("and six by sockets", "ours", latency["sockets"][0]),
        Bar("and six by TLS", "ours", latency["tls"][0]),
        Bar("and six prompt ones", "ours", latency["prompt tls"][0]),
    ]
    return svg(
        [
            Chart("Checks per core and second at one perspective", "/s", bars),
            Chart("One http-01 check, median", "ms", waits),
        ]
    )
