"""Judges a text before it is approved: the outline is whole, no section is blank, no word is vague.

Must never: judge in one language only.

RFC 3647 section 6; Mozilla RSP 3.3 (no blank section, no subjective term in place of a parameter);
requirements Z6.
"""

from __future__ import annotations

import re

from repo_static.documents.kinds import Document
from repo_static.documents.text import Texts
from repo_static.rendering import LANGUAGES

SUBSECTIONS = {
    1: (0, 0, 5, 2, 4, 0),
    2: (0, 0, 0, 0),
    3: (6, 6, 2, 0),
    4: (2, 3, 2, 3, 2, 7, 7, 7, 16, 3, 0, 2),
    5: (8, 4, 8, 8, 7, 0, 4, 0),
    6: (7, 11, 2, 3, 2, 3, 0, 0),
    7: (9, 2, 2),
    8: (0, 0, 0, 0, 0, 0),
    9: (5, 3, 3, 7, 0, 5, 0, 0, 0, 3, 0, 3, 0, 0, 0, 5, 0),
}
"""RFC 3647 section 6: how many third-level sections each second-level section of a chapter has at least."""

VAGUE = {
    "en": re.compile(
        r"\b(periodic(al)?(ly)?|prompt(ly)?|timely|as (necessary|needed)|from time to time|regular(ly)?"
        r"|reasonab(le|ly)|as soon as|immediate(ly)?|without (undue )?delay|at once|frequent(ly)?|usual(ly)?"
        r"|as a rule|appropriate|adequate(ly)?|sufficient(ly)?|best efforts?|generally|normally"
        r"|occasional(ly)?)\b",
        re.IGNORECASE,
    ),
    "ja": re.compile(
        r"定期的|速やか|すみやか|適時|適宜|随時|必要に応じ|適切|直ち|遅滞なく|合理的|十分(な|に)|通常|原則として|可能な限り|できる限り|"
        r"相当の|しかるべき|適当な"
    ),
}
"""Words that say no number (requirements Z6)."""

_NOTHING = re.compile(
    r"(no stipulation|none|not applicable|n/a|規定しない|該当なし|なし)[.。]?", re.IGNORECASE
)
_HEADING = re.compile(r"#{2,4} (\d+(?:\.\d+)*)\.? (.*)")


def findings(document: Document, texts: Texts) -> list[str]:
    """What must be mended, a sentence each; empty for a good text."""
    found = []
    for language in LANGUAGES:
        text = texts[language]
        for number, line in enumerate(text.splitlines(), 1):
            if not line.startswith("#") and (
                word := VAGUE[language].search(line)
            ):  # RFC 3647's headings stay
                found.append(f"{language}, line {number}: {word[0]!r} is no number; say how many, or when")
        if document is Document.CP_CPS:
            found += [f"{language}: {each}" for each in _outline(sections(text))]
    english, japanese = (list(sections(texts[language])) for language in LANGUAGES)
    for section in sorted(set(english) ^ set(japanese)):
        found.append(f"section {section} is in one language only")
    return found


def sections(text: str) -> dict[str, str]:
    """Section number -> its own text without headings; the change log is none."""
    found: dict[str, str] = {}
    number = ""
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            number = heading[1]
            found[number] = ""
        elif line.startswith("#"):
            number = ""
        elif number:
            found[number] += line.strip()
    return found


def outline() -> list[str]:
    """Every section that RFC 3647 asks for: "1", "1.1" ... "9.17"."""
    wanted = []
    for chapter, parts in SUBSECTIONS.items():
        wanted.append(str(chapter))
        for second, thirds in enumerate(parts, 1):
            wanted.append(f"{chapter}.{second}")
            wanted += [f"{chapter}.{second}.{third}" for third in range(1, thirds + 1)]
    return wanted


def _outline(found: dict[str, str]) -> list[str]:
    faults = [f"section {each} is missing" for each in outline() if each not in found]
    for number, text in found.items():
        parts = any(other.startswith(f"{number}.") for other in found)
        if not text and not parts:
            faults.append(f"section {number} is blank")
        elif _NOTHING.fullmatch(text):
            faults.append(f"section {number} says only {text!r}: say why")
    return faults
