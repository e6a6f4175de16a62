"""Draws docs/fleet.svg: a fleet's renewals before, during and after an incident, hour by hour.

The data are those of the journey (tests/support/fleet.py): real requests to the real front, by a clock that
is turned.  It takes some minutes.

usage: python -m bench.fleet [CERTIFICATES]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, variance

from bench.picture import STYLE
from tests.support.fleet import DAY, HOUR, Told, tell

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "fleet.svg"
WIDTH, LEFT, RIGHT, HEIGHT, TOP, FOOT = 760, 46, 10, 130, 30, 26
COLOURS = {"usual": "#2f6f9f", "early": "#c98a2b", "requests": "#7a8791"}


class Panel:
    """Bars for each hour from hour `first` to `last` since the fleet moved in, at height `y`."""

    def __init__(self, y: int, title: str, first: int, last: int, most: int) -> None:
        self.parts = [f'<text class="title" x="10" y="{y + 16}">{title}</text>']
        self._base = y + TOP + HEIGHT
        self._first, self._last, self._most = first, last, most
        for part in (0.5, 1):
            at = self._base - HEIGHT * part
            self.parts.append(
                f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{most * part:g}</text>'
            )
            self.parts.append(_line(LEFT, at, WIDTH - RIGHT, at, "0.25"))
        for day in range(-(-first // 24), last // 24 + 1, max(1, -(-(last - first) // 240))):
            x = self._x(day * 24)
            self.parts.append(
                f'<text x="{x:.1f}" y="{self._base + 16}" text-anchor="middle">day {day}</text>'
            )
        self.parts.append(_line(LEFT, self._base, WIDTH - RIGHT, self._base, "0.6"))
        self.end = self._base + FOOT

    def bars(self, counts: Sequence[tuple[str, Counter[int]]]) -> None:
        """Stacked in this order; one path for each colour."""
        below: Counter[int] = Counter()
        wide = (WIDTH - LEFT - RIGHT) / (self._last - self._first)
        for colour, counted in counts:
            path = []
            for hour in range(self._first, self._last):
                if counted[hour]:
                    low = self._base - below[hour] / self._most * HEIGHT
                    high = min(counted[hour] / self._most * HEIGHT, low - self._base + HEIGHT)
                    path.append(f"M{self._x(hour):.1f} {low:.1f}v-{high:.1f}h{wide:.2f}v{high:.1f}z")
                    below[hour] += counted[hour]
            self.parts.append(f'<path fill="{COLOURS[colour]}" d="{"".join(path)}"/>')

    def mark(self, hour: float, text: str, anchor: str) -> None:
        """A line at a moment."""
        x, off = self._x(hour), 4 if anchor == "start" else -4
        self.parts.append(_line(x, self._base - HEIGHT - 4, x, self._base, "0.8"))
        self.parts.append(
            f'<text x="{x + off:.1f}" y="{self._base - HEIGHT + 8}" text-anchor="{anchor}">{text}</text>'
        )

    def _x(self, hour: float) -> float:
        return LEFT + (hour - self._first) / (self._last - self._first) * (WIDTH - LEFT - RIGHT)


def svg(told: Told) -> str:
    """Three panels below one another."""
    usual, early, planned = (
        _hours(told, times) for times in (told.story.usual, told.story.early, told.planned)
    )
    requests = Counter({hour - told.began // HOUR: n for hour, n in told.story.requests.items()})
    most = max((usual + early).values())
    first, last = round(53.5 * 24), round(65.5 * 24)
    opened, closed = (told.opened - told.began) / HOUR, (told.renew_by - told.began) / HOUR
    panels = [Panel(6, "Renewals an hour: usual (blue), and of the incident (ochre)", first, last, most)]
    panels[0].bars([("usual", usual), ("early", early)])
    panels.append(Panel(panels[0].end + 12, "Requests an hour", first, last, max(requests.values())))
    panels[1].bars([("requests", requests)])
    for each in panels:
        each.mark(opened, "incident", "start")
        each.mark(closed, "renew by", "end")
    title = "Two months later: the next renewals an hour, as planned when this ends"
    panels.append(Panel(panels[1].end + 12, title, min(planned) - 24, max(planned) + 24, most))
    panels[2].bars([("usual", planned)])
    height = panels[2].end + 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img"><style>{STYLE}'
        "line{stroke:#888}</style>"
    )
    return "\n".join([head, *(part for each in panels for part in each.parts), "</svg>\n"])


def facts(told: Told) -> str:
    """What docs/fleets.md says of it."""
    both = _hours(told, [*told.story.usual, *told.story.early])
    lines = [f"statuses {dict(told.story.statuses)}; failed first {told.story.failed}; {dict(told.fates)}"]
    for name, first, last in (("before", 56.7, 58.5), ("during", 59.5, 62.0)):
        counted = [both[hour] for hour in range(round(first * 24), round(last * 24))]
        middle = mean(counted)
        lines.append(
            f"{name}: {middle:.1f} renewals an hour, most {max(counted)}, "
            f"index of dispersion {variance(counted) / middle:.2f}"
        )
    last_one = (told.renew_by - max(told.story.early)) / HOUR
    lines.append(f"the incident's last renewal was {last_one:.1f} h before its end")
    for name, begin, end in (("before", 55.0, 58.5), ("during", 58.5, 63.5)):
        hours = range(round(begin * 24), round(end * 24))
        load = [told.story.requests[told.began // HOUR + hour] for hour in hours]
        lines.append(f"{name}: {mean(load):.0f} requests an hour, most {max(load)}")
    planned = _hours(told, told.planned)
    days = (max(told.planned) - min(told.planned)) / DAY
    lines.append(f"planned: over {days:.1f} days, most {max(planned.values())} an hour")
    return "\n".join(lines)


def _hours(told: Told, times: Sequence[int]) -> Counter[int]:
    return Counter((each - told.began) // HOUR for each in times)


def _line(x1: float, y1: float, x2: float, y2: float, opacity: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" opacity="{opacity}"/>'


def main() -> None:
    """Draw it."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as directory:
        told = asyncio.run(tell(Path(directory), size))
    PICTURE.write_text(svg(told), encoding="utf-8")
    print(facts(told))


if __name__ == "__main__":
    main()
