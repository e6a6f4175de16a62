"""Every clause in tests/conformance has a test that is marked with it, and docs/conformance.md says so."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.catalogue import documents, proofs
from tests.conformance.page import page

ROOT = Path(__file__).parents[2]
ROWS = [row for document in documents() for row in document.rows]


def test_no_mark_names_a_clause_that_is_not_there() -> None:
    assert sorted(proofs().keys() - {row.key for row in ROWS}) == []


def test_every_clause_has_a_test_or_says_why_not() -> None:
    excused = {row.key for row in ROWS if row.pending or row.not_offered or row.differs}
    assert sorted({row.key for row in ROWS} - proofs().keys() - excused) == []


def test_no_must_is_excused_by_a_divergence_alone() -> None:
    assert [row.key for row in ROWS if row.binding and row.differs and row.key not in proofs()] == []


def test_what_is_shown_is_not_called_open() -> None:
    assert [row.key for row in ROWS if (row.pending or row.not_offered) and row.key in proofs()] == []


def test_the_page_is_drawn_from_the_catalogue_and_the_marks() -> None:
    drawn = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert drawn == page(), "make conformance"
