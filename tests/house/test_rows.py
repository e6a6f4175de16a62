"""Every row of tests/validation/rows.toml has a test that is marked with it; no mark names another row."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows() -> set[str]:
    """Every row as "section.key"."""
    table = tomllib.loads((ROOT / "tests" / "validation" / "rows.toml").read_text(encoding="utf-8"))
    return {f"{section}.{key}" for section, keys in table.items() for key in keys}


def marked() -> Iterator[str]:
    """The argument of every `pytest.mark.row(...)` in the tests."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
                yield from (str(ast.literal_eval(argument)) for argument in node.args)


def test_no_mark_names_a_row_that_is_not_there() -> None:
    assert sorted(set(marked()) - rows()) == []


def test_every_row_has_a_test() -> None:
    assert sorted(rows() - set(marked())) == []
