"""docs/clients.md says of each ACME client what a test shows, and why the rest cannot be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.clients.table import ABILITIES, DOCUMENT, clients, written

ROOT = Path(__file__).parents[2]


def shown() -> Iterator[tuple[str, str]]:
    """(client, ability) of every `pytest.mark.client(...)` in the tests."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.client":
                client, *abilities = (str(ast.literal_eval(argument)) for argument in node.args)
                yield from ((client, ability) for ability in abilities)


def claimed() -> set[tuple[str, str]]:
    """What the table says."""
    return {(each.key, ability) for each in clients() for ability in ABILITIES if not each.lacks[ability]}


def test_a_client_can_what_a_test_shows_and_nothing_else() -> None:
    assert sorted(claimed() ^ set(shown())) == []


def test_the_document_has_the_table() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == written(document), "python -m tests.clients.table"
