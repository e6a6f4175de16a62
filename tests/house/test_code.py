"""House rules that a reader of the code may rely on."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "acme_server", "validation", "signer", "status", "repo_static", "operations")

LONGEST = 420
"""Lines: 400 is the aim; well beyond it a file holds more than one idea."""

AMBIENT = {
    ("time", "time"),
    ("time", "time_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("os", "urandom"),
    ("os", "getrandom"),
}
AMBIENT_MODULES = {"secrets", "random", "uuid"}
SOURCES = {"core/clock.py", "core/randomness.py"}
"""Where time and chance come from."""


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_module_says_its_duty(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body


@pytest.mark.parametrize("path", [p for p in modules() if named(p) not in SOURCES], ids=named)
def test_time_and_chance_are_passed_in(path: Path) -> None:
    assert list(ambient(ast.parse(path.read_text()))) == []


def ambient(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in AMBIENT:
                yield f"line {node.lineno}: {node.value.id}.{node.attr}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            yield from (f"line {node.lineno}: {name}" for name in names if name in AMBIENT_MODULES)


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_package_registry() -> None:
    # Put together here, so that this file does not name one either.
    hosts = [
        ".".join(host)
        for host in (
            ("pypi", "org"),
            ("files", "python" + "hosted", "org"),
            ("proxy", "golang", "org"),
            ("registry", "npmjs", "org"),
        )
    ]
    for path in committed():
        text = path.read_bytes()
        assert not any(host.encode() in text for host in hosts), path


def test_every_locked_package_is_pinned_by_hash() -> None:
    for name in ("build", "runtime", "development"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", "")
        packages = [line for line in text.splitlines() if line and line[0] not in "# "]
        assert packages
        assert all("==" in line and "--hash=sha256:" in line for line in packages)


def test_every_dependency_is_locked_and_explained() -> None:
    import tomllib

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    locked = (ROOT / "requirements/runtime.txt").read_text()
    explained = (ROOT / "docs/dependencies.md").read_text()
    for name in wanted:
        assert f"\n{name}==" in locked, f"{name}: make lock"
        assert name in explained, f"{name}: docs/dependencies.md"


@pytest.mark.parametrize("python", ["3.11.0", "3.11.2", "3.12.3", "3.13.5", "3.14.0"])
def test_the_lock_has_all_that_a_python_of_the_distributions_needs(python: str) -> None:
    """pip refuses the whole lock for one package that is missing, and only some Pythons miss it."""
    text = (ROOT / "requirements" / "runtime.txt").read_text()
    locked = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}
    there = {"python_version": python.rpartition(".")[0], "python_full_version": python, "extra": ""}
    for package in distributions():
        if canonicalize_name(package.name) in locked:
            for line in package.requires or ():
                wanted = Requirement(line)
                if wanted.marker is None or wanted.marker.evaluate(there):
                    assert canonicalize_name(wanted.name) in locked, f"{package.name} wants {line}"
