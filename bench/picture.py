"""A bar chart as SVG text: small, legible in light and dark, and without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, BAR, GAP, TITLE = 760, 190, 20, 8, 46
COLOURS = {"ours": "#2f6f9f", "pebble": "#c98a2b", "peer": "#c98a2b"}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:15px}"
    ".value{font-variant-numeric:tabular-nums}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, whose it is ("ours", "pebble", "peer") and its value."""

    label: str
    owner: str
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars with one unit and one scale."""

    title: str
    unit: str
    bars: Sequence[Bar]


def svg(charts: Sequence[Chart]) -> str:
    """The charts below one another."""
    parts: list[str] = []
    y = 10
    for chart in charts:
        parts.append(f'<text class="title" x="10" y="{y + 18}">{escape(chart.title)}</text>')
        y += TITLE - 12
        largest = max((bar.value for bar in chart.bars), default=0.0) or 1.0
        for bar in chart.bars:
            length = max(1.0, bar.value / largest * (WIDTH - LABELS - 130))
            middle = y + BAR / 2 + 4.5
            parts.append(f'<text x="{LABELS - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>')
            parts.append(
                f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" '
                f'fill="{COLOURS[bar.owner]}"/>'
            )
            parts.append(
                f'<text class="value" x="{LABELS + length + 6:.1f}" y="{middle}">'
                f"{bar.value:,.1f} {escape(chart.unit)}</text>"
            )
            y += BAR + GAP
        y += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
        f'role="img"><style>{STYLE}</style>'
    )
    return head + "\n" + "\n".join(parts) + "\n</svg>\n"
