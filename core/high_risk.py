"""The operator's list of names for which an order waits for a person (BR 4.2.1).

One pattern a line, in lower case and as A-labels; "#" begins a comment:

    example.com      the name, every name below it, and a wildcard that could stand for it
    =example.com     the name itself, its own wildcard, and a wildcard that could stand for it
    *bank*           every name with these characters in it
    203.0.113.9      the address

It is read anew when it changes.  It compares characters: whatever looks alike (xn--pypal-4ve.com) needs a
line of its own.

Must never: let an order pass because the list could not be read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core import followed_file
from core.errors import ConfigurationError
from core.identifiers import is_address, split_wildcard
from core.refusal import HOST_NAME

SHORTEST = 3
"""Characters that a pattern within names has at least: fewer would hold half of all orders."""

MOST_WITHIN = 1000
"""Patterns within names: each is looked for in every name, 50 us for a name."""

_WITHIN = re.compile(r"\*([a-z0-9.-]+)\*")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Patterns:
    """`covered` maps what a wildcard stands directly above to the pattern that it could stand for."""

    exactly: frozenset[str]
    below: frozenset[str]
    within: tuple[str, ...]
    covered: dict[str, str]

    def pattern(self, name: str) -> str:
        base, wildcard = split_wildcard(name)
        if base in self.exactly:
            return f"={base}"
        if wildcard and base in self.covered:
            return self.covered[base]
        if not is_address(base):
            labels = base.split(".")
            for start in range(len(labels)):
                if (upper := ".".join(labels[start:])) in self.below:
                    return upper
            return next((f"*{each}*" for each in self.within if each in base), "")
        return base if base in self.below else ""


class HighRisk:
    """The list in the file `path`; an empty one without.

    Raises `ConfigurationError`, naming the line, when the file cannot be read or is not in order.
    """

    def __init__(self, path: str = "") -> None:
        self._path = Path(path) if path else None
        self._seen: tuple[int, ...] = ()
        self._patterns = _parsed([], None)
        if self._path is not None:
            self._load(self._path)

    def found(self, names: Iterable[str]) -> dict[str, str]:
        """Those of a certificate's names that are on the list, each with its pattern."""
        return {name: pattern for name in names if (pattern := self._patterns.pattern(name))}

    async def follow(self) -> None:
        """Take a changed file into use, until cancelled.  One that is not in order is reported, not used."""
        await followed_file.follow(self.reload)

    async def reload(self) -> bool:
        """Read the file if it has changed; whether it had.  Raises as the constructor, changing nothing."""
        return self._path is not None and self._load(self._path)

    def _load(self, path: Path) -> bool:
        try:
            seen = followed_file.seen(path)
            if seen == self._seen:
                return False
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"ca.high_risk = {path}: {error}; name a text file with a pattern a line, or none"
            ) from error
        self._patterns = _parsed(lines, path)
        self._seen = seen
        _log.info("high risk: %d lines in %s", len(lines), path)
        return True


def _parsed(lines: Iterable[str], path: Path | None) -> _Patterns:
    exactly: set[str] = set()
    below: set[str] = set()
    within: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        inner = _WITHIN.fullmatch(text)
        if inner is not None and len(inner[1]) >= SHORTEST and len(within) < MOST_WITHIN:
            within.append(inner[1])
        elif inner is not None:
            raise _wrong(
                path, number, text, f"write {SHORTEST} characters or more, {MOST_WITHIN} lines at most"
            )
        elif text.startswith("=") and _is_name(text[1:]):
            exactly.add(text[1:])
        elif _is_name(text):
            below.add(text)
        else:
            raise _wrong(path, number, text, 'write "example.com", "=example.com" or "*bank*", in A-labels')
    # Of several that a wildcard stands above, the first by name is told.
    covered = {each.partition(".")[2]: f"={each}" for each in sorted(exactly, reverse=True)}
    covered |= {each.partition(".")[2]: each for each in sorted(below, reverse=True)}
    return _Patterns(frozenset(exactly), frozenset(below), tuple(within), covered)


def _is_name(text: str) -> bool:
    return is_address(text) or (HOST_NAME.fullmatch(text) is not None and not text.split(".")[-1].isdigit())


def _wrong(path: Path | None, number: int, text: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"ca.high_risk = {path}, line {number}, {text[:80]!r}: {remedy}")
