"""Every row of tests/validation/rows.toml has a test that is marked with it; no mark names another row."""

from __future__ import annotations

import tomllib

from tests.support.marks import ROOT, marked


def rows() -> set[str]:
    """Every row as "section.key"."""
    table = tomllib.loads((ROOT / "tests" / "validation" / "rows.toml").read_text(encoding="utf-8"))
    return {f"{section}.{key}" for section, keys in table.items() for key in keys}


def covered() -> set[str]:
    """Every row that a test is marked with."""
    return {each.argument for each in marked("row")}


def test_no_mark_names_a_row_that_is_not_there() -> None:
    assert sorted(covered() - rows()) == []


def test_every_row_has_a_test() -> None:
    assert sorted(rows() - covered()) == []
