"""What a look found: a line for each thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a thing stands; the value is shown."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        """0, 1, 2: the exit status, and what the metric says."""
        return _RANKS[self]


_RANKS = {State.OK: 0, State.WARN: 1, State.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    `check` is the kind of look ("crl"), `subject` what was looked at ("crl/ec-1-0.crl"), `seen` what was seen
    there, `remedy` what to do ("" when nothing is), `seconds` how long it took.
    """

    check: str
    subject: str
    state: State
    seen: str
    remedy: str = ""
    seconds: float = 0.0


class Wrong(Exception):
    """Something is not as it should be: `seen`, `remedy`, and whether it is a failure or a warning."""

    def __init__(self, seen: str, remedy: str, state: State = State.FAIL) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy
        self.state = state


def worst(findings: list[Finding]) -> State:
    """Of all; OK for none."""
    return max((each.state for each in findings), key=lambda state: state.rank, default=State.OK)


def plain(text: str, most: int = 200) -> str:
    """A stranger's words as they may be shown: printable, on one line, not long."""
    line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[: most + 1])
    return line if len(line) <= most else line[:most] + "…"
