"""What a tree of processes costs, by the kernel's books (/proc/<pid>/stat and status)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds used so far, and resident octets now."""

    cpu: float
    resident: int
    processes: int


def cost(root: int) -> Cost:
    """Of the process `root` and all below it; children that ended are in their parent's account."""
    cpu, resident = 0.0, 0
    pids = tree(root)
    for pid in pids:
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # Fields 14-17 of proc(5): utime, stime, cutime, cstime; the first field after the name is the third.
        cpu += sum(int(value) for value in after_name[11:15]) / TICKS
        resident += next(
            (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0
        )
    return Cost(cpu, resident, len(pids))


def rooms(root: int) -> dict[str, float]:
    """CPU seconds so far by room: "app", "vault", "perspective" ...; lint workers count as "lint"."""
    spent: dict[str, float] = {}
    for pid in tree(root):
        name = _room(pid)
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        spent[name] = spent.get(name, 0.0) + sum(int(value) for value in fields[11:13]) / TICKS
    return spent


def _room(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return "ended"
    if "operations.process" in words:
        return words[words.index("operations.process") + 1]
    if any("multiprocessing" in word for word in words):
        return "lint"
    return "supervisor" if "operations.cli" in words else Path(words[0]).name


def tree(root: int) -> list[int]:
    """`root` and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found
