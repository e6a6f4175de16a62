"""What a process holds in its memory, as root can see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_MAP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r")


def found_in(pid: int, needles: Mapping[str, bytes]) -> dict[str, int]:
    """How often each of the `needles` stands in the readable memory of process `pid`; needs root."""
    found = dict.fromkeys(needles, 0)
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = _MAP.match(line)
            if match is None or "[v" in line:
                continue
            begin, end = int(match[1], 16), int(match[2], 16)
            try:
                memory.seek(begin)
                octets = memory.read(end - begin)
            except (OSError, ValueError):
                continue  # a page that cannot be read
            for name, needle in needles.items():
                found[name] += octets.count(needle)
    return found
