"""Which tests bear a mark that names something: read from their source, so that nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Marked:
    """A test (or, with `name` "", all tests of a file) and one argument of its mark.

    `path` is relative to the repository.
    """

    argument: str
    path: str
    name: str


def marked(mark: str) -> tuple[Marked, ...]:
    """Every literal argument of every `pytest.mark.<mark>(...)`, by file and in the order of each file."""
    return tuple(each for path, tree in _trees() for each in _in_file(path, tree, f"pytest.mark.{mark}"))


@cache
def _trees() -> tuple[tuple[str, ast.Module], ...]:
    """The tests that bear marks, parsed once for all who ask."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "pytest.mark." in text:
            found.append((path.relative_to(ROOT).as_posix(), ast.parse(text)))
    return tuple(found)


def _in_file(path: str, tree: ast.Module, mark: str) -> Iterator[Marked]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                yield from (Marked(each, path, node.name) for each in _arguments(decorator, mark))
        elif isinstance(node, ast.Assign | ast.AnnAssign):  # pytestmark, and tables of cases
            yield from (Marked(each, path, "") for each in _arguments(node, mark))


def _arguments(tree: ast.AST, mark: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == mark:
            yield from (str(ast.literal_eval(argument)) for argument in node.args)
