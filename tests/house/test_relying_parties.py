"""docs/relying-parties.md shows the relying parties that the tests ask, and no others."""

from __future__ import annotations

from tests.relying_parties.table import DOCUMENT, drawn


def test_the_table_of_relying_parties_is_that_of_the_tests() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert drawn(document) == document, "python -m tests.relying_parties.table writes it anew"
