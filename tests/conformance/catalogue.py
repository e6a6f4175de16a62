"""The clauses of each document that bind a server, in our own words, and who proves them.

Each document has a file of its own beside this one: a table for each section, a row for each clause.  A row's
text begins with its level; a test that proves it is marked `@pytest.mark.must("rfc8555.7.3.5.inner-url")`.
What binds clients only has no row.

A row may be a table instead, with `says` and one of

    pending      nothing shows it yet, and why;
    not_offered  the clause is about something that we do not offer, and why;
    differs      a SHOULD that we do not follow, or a clause that we read otherwise: docs/divergences.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.marks import Marked, marked

DIRECTORY = Path(__file__).parent
DOCUMENTS = (
    "rfc8555",
    "rfc8657",
    "rfc8659",
    "rfc8737",
    "rfc8738",
    "rfc9773",
    "profiles",
    "rfc6960",
    "rfc9919",
)
"""The files' names, in the order of the page."""

LEVELS = ("MUST NOT", "MUST", "REQUIRED", "SHOULD NOT", "SHOULD", "RECOMMENDED", "IS")
"""RFC 2119's words; IS stands for a statement without one of them that clients rely on."""

BINDING = ("MUST NOT", "MUST", "REQUIRED")


@dataclass(frozen=True, slots=True)
class Row:
    """One clause.  `key` is what a mark names; `says` is the text without its level."""

    key: str
    section: str
    level: str
    says: str
    pending: str = ""
    not_offered: str = ""
    differs: str = ""

    @property
    def binding(self) -> bool:
        return self.level in BINDING


@dataclass(frozen=True, slots=True)
class Document:
    """One document with its rows; `note` says what has no row, and why."""

    name: str
    title: str
    note: str
    rows: tuple[Row, ...]


def documents() -> tuple[Document, ...]:
    """The whole catalogue.  Raises `ValueError` for a row that is not of the form above."""
    return tuple(_read(name) for name in DOCUMENTS)


def not_offered() -> Mapping[str, str]:
    """Documents that nothing here serves, and why."""
    return tomllib.loads((DIRECTORY / "not_offered.toml").read_text(encoding="utf-8"))


@cache
def proofs() -> Mapping[str, tuple[Marked, ...]]:
    """The tests that bear each key, by file."""
    found: dict[str, list[Marked]] = {}
    for each in marked("must"):
        found.setdefault(each.argument, []).append(each)
    return {key: tuple(tests) for key, tests in found.items()}


def _read(name: str) -> Document:
    table = tomllib.loads((DIRECTORY / f"{name}.toml").read_text(encoding="utf-8"))
    title, note = table.pop("title"), table.pop("note")
    rows = (_row(name, section, key, value) for section, keys in table.items() for key, value in keys.items())
    return Document(name, title, note, tuple(rows))


def _row(document: str, section: str, key: str, value: Any) -> Row:
    members = {"says": value} if isinstance(value, str) else dict(value)
    text = members.pop("says")
    level = next((each for each in LEVELS if text.startswith(f"{each} ")), None)
    full = f"{document}.{section}.{key}"
    if level is None or len(members) > 1 or members.keys() - {"pending", "not_offered", "differs"}:
        raise ValueError(f"{full} must begin with one of {LEVELS} and may have one remark")
    return Row(full, section, level, text.removeprefix(f"{level} "), **members)
