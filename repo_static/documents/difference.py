"""What changed between two versions of a document: for people as a page, for programs as a unified diff.

Must never: leave a changed line out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WORD = re.compile(r"[A-Za-z0-9]+|\s+|.", re.DOTALL)
"""Japanese has no spaces between words: its characters are compared one by one."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """A changed paragraph below the heading `section`; `html` has <ins> and <del>."""

    section: str
    html: Markup


def unified(old: str, new: str, old_name: str, new_name: str) -> str:
    """As `diff -u` writes it; "" for equal texts."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), old_name, new_name
    )
    return "".join(lines)


def hunks(old: str, new: str) -> list[Hunk]:
    """Every paragraph that changed, by the words that did, in the order of the newer text."""
    return list(
        _hunks([line for line in old.splitlines() if line], [line for line in new.splitlines() if line])
    )


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[Hunk]:
    for kind, a, a_end, b, b_end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        before, after = old[a:a_end], new[b:b_end]
        for number in range(max(len(before), len(after))):
            was = before[number] if number < len(before) else ""
            now = after[number] if number < len(after) else ""
            section = _section(new, b + number) if now else _section(old, a + number)
            yield Hunk(section, _words(was, now))


def _words(old: str, new: str) -> Markup:
    was, now = _WORD.findall(old), _WORD.findall(new)
    parts = []
    for kind, a, a_end, b, b_end in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        removed, added = escape("".join(was[a:a_end])), escape("".join(now[b:b_end]))
        if kind == "equal":
            parts.append(added)
            continue
        if removed:
            parts.append(Markup("<del>{}</del>").format(removed))
        if added:
            parts.append(Markup("<ins>{}</ins>").format(added))
    return Markup("").join(parts)


def _section(lines: Sequence[str], at: int) -> str:
    for line in reversed(lines[: at + 1]):
        if line.startswith("#"):
            return line.lstrip("# ")
    return ""
