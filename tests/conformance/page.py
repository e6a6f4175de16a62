"""docs/conformance.md, drawn from the catalogue and the marks of the tests."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.conformance.catalogue import Document, Row, documents, not_offered, proofs
from tests.support.marks import Marked

_HEAD = """# What each RFC asks of a server, and the test that shows it

Drawn by `make conformance` from the catalogue in `tests/conformance/` and the tests' `@pytest.mark.must`; a
test compares this page with both. A clause is told in a few words of our own: read the RFC for what it says.
**IS** marks a statement that has none of RFC 2119's words but that clients rely on. Clauses that bind clients
only are left out. Where we differ from a SHOULD, [divergences.md](divergences.md) says why.
"""

_NOT_OFFERED = """## What is not offered at all

None of it is in the directory, and the members that it defines are ignored.

| Document | Why |
| --- | --- |
"""


def page() -> str:
    """The whole page in Markdown."""
    known = documents()
    parts = [_HEAD, _counts(known), _gaps(known)]
    parts += [_chapter(each) for each in known]
    parts.append(_NOT_OFFERED + "".join(f"| {name} | {why} |\n" for name, why in not_offered().items()))
    return "\n".join(parts)


def _counts(known: Iterable[Document]) -> str:
    lines = [
        "| Document | Clauses | MUST, MUST NOT, REQUIRED | of these with a test | Not offered | Open |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for document in known:
        binding = [each for each in document.rows if each.binding and not each.not_offered]
        shown = [each for each in binding if each.key in proofs()]
        not_offered = sum(1 for each in document.rows if each.not_offered)
        gaps = sum(1 for each in document.rows if each.pending)
        lines.append(
            f"| [{document.title}](#{_anchor(document.title)}) | {len(document.rows)} | {len(binding)}"
            f" | {len(shown)} | {not_offered} | {gaps} |"
        )
    return "\n".join(lines) + "\n"


def _gaps(known: Iterable[Document]) -> str:
    gaps = [each for document in known for each in document.rows if each.pending]
    if not gaps:
        return "Nothing is open.\n"
    lines = [f"- `{each.key}`: {each.level} {each.says}: {each.pending}" for each in gaps]
    return "**Open**: clauses that no test shows yet.\n\n" + "\n".join(lines) + "\n"


def _chapter(document: Document) -> str:
    lines = [f"## {document.title}\n", document.note, "", "| § | Clause | Shown by |", "| --- | --- | --- |"]
    lines += [f"| {row.section} | **{row.level}** {row.says} | {_shown(row)} |" for row in document.rows]
    return "\n".join(lines) + "\n"


def _shown(row: Row) -> str:
    cells = [_link(each) for each in proofs().get(row.key, ())]
    if row.not_offered:
        cells.append(f"*not offered*: {row.not_offered}")
    if row.differs:
        cells.append(f"[*differs*](divergences.md): {row.differs}")
    if row.pending:
        cells.append(f"**open**: {row.pending}")
    return "<br>".join(cells)


def _link(test: Marked) -> str:
    words = re.sub("(?<=[a-z])(?=[A-Z])", "_", test.name).lower()
    sentence = re.sub("^test_", "", words).replace("_", " ") or test.path
    return f"[{sentence}](../{test.path})"


def _anchor(title: str) -> str:
    return "".join(each for each in title.lower().replace(" ", "-") if each.isalnum() or each == "-")
