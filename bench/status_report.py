"""Turns the sections that bench.status measured into status.md and status.svg."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.picture import Chart, svg


@dataclass(frozen=True, slots=True)
class Section:
    """What one module has to say: a heading, lines of Markdown, and bars for the picture."""

    title: str
    lines: Sequence[str]
    charts: Sequence[Chart] = field(default_factory=tuple)


def write(directory: Path, sections: Sequence[Section], when: str) -> Path:
    """Both files in `directory`; returns the former's path."""
    (directory / "status.svg").write_text(
        svg([chart for section in sections for chart in section.charts]), encoding="utf-8"
    )
    lines = [
        "# What status costs",
        "",
        f"Written by `make bench` on {when}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the",
        f"end (above 2 others were at work); {platform.machine()}, Python {platform.python_version()}.",
        "",
        "![answers per second, and what else is measured below](status.svg)",
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", *section.lines]
    report = directory / "status.md"
    report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return report
