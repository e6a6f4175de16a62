"""What the watch shows: a table on a terminal, JSON, a page, metrics.

Must never: hand on octets of a stranger that drive a terminal or a browser.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from operations import templates
from operations.watch.finding import Finding, State, worst
from operations.watch.memory import Look, Memory

CONTENT = Path(__file__).parent / "content"
LANGUAGES = ("en", "ja")
SHOWN_LOOKS = 96
"""Looks of the history on the page: a day at one a quarter of an hour."""


def table(findings: list[Finding]) -> str:
    """For a person: what is not well last, where he sees it, with what to do."""
    lines = []
    for each in sorted(findings, key=lambda found: found.state.rank):
        mark = {State.OK: "  ok  ", State.WARN: " WARN ", State.FAIL: " FAIL "}[each.state]
        lines.append(f"{mark} {each.check:17} {each.subject}  {each.seconds:.2f} s")
        lines.append(f"       {each.seen}")
        if each.state is not State.OK and each.remedy:
            lines.append(f"       -> {each.remedy}")
    counts = [sum(each.state is state for each in findings) for state in State]
    lines.append(f"{len(findings)} checks: {counts[0]} ok, {counts[1]} warn, {counts[2]} fail")
    return "\n".join(lines)


def brief(findings: list[Finding], at: int) -> str:
    """One line for a log, and one for each thing that is not well."""
    bad = [each for each in findings if each.state is not State.OK]
    lines = [f"{_time(at)} {worst(findings)}: {len(findings)} checks, {len(bad)} not well"]
    lines += [f"  {each.state} {each.check} {each.subject}: {each.seen} -> {each.remedy}" for each in bad]
    return "\n".join(lines)


def as_json(findings: list[Finding], at: int) -> str:
    """For programs."""
    return json.dumps(
        {"at": at, "state": worst(findings), "findings": [asdict(each) for each in findings]}, indent=2
    )


class Metrics:
    """What Prometheus scrapes; `subject` is a URL or an issuer, never a person's name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("check", "subject")
        self._state = Gauge("acme_watch_state", "0 ok, 1 warn, 2 fail.", labels, registry=self.registry)
        self._seconds = Gauge(
            "acme_watch_seconds", "How long the check took.", labels, registry=self.registry
        )
        self._at = Gauge("acme_watch_last_look_seconds", "When the last look ended.", registry=self.registry)
        self._worst = Gauge("acme_watch_worst_state", "Of the last look.", registry=self.registry)
        self._looks = Counter(
            "acme_watch_looks", "Looks, by how they ended.", ("state",), registry=self.registry
        )

    def take(self, findings: list[Finding], at: int) -> None:
        """The look that ended at `at`.  The sampled serials are one line each kind: they change."""
        self._state.clear()
        self._seconds.clear()
        for each in sorted(findings, key=lambda found: found.state.rank):
            subject = each.subject.partition(" ")[0]
            self._state.labels(each.check, subject).set(each.state.rank)  # the worst of a kind comes last
            self._seconds.labels(each.check, subject).set(each.seconds)
        self._at.set(at)
        self._worst.set(worst(findings).rank)
        self._looks.labels(worst(findings)).inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)


def page(findings: list[Finding], memory: Memory, at: int, repository: str) -> str:
    """One HTML page in both languages, which loads nothing."""
    counted = sorted(findings, key=lambda found: -found.state.rank)
    return (
        templates.environment(CONTENT)
        .get_template("page.html.j2")
        .render(
            findings=counted,
            state=worst(findings),
            at=_time(at),
            repository=repository,
            looks=[_look(each) for each in memory.looks[-SHOWN_LOOKS:][::-1]],
            words=templates.words(CONTENT),
            languages=LANGUAGES,
        )
    )


def _look(look: Look) -> dict[str, Any]:
    return {"at": _time(look.at), "state": look.state, "not_well": ", ".join(look.not_well)}


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
