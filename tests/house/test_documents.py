"""What the documents say is there, is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("bench/*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_PATH = re.compile(
    r"`((?:core|acme_server|validation|signer|status|repo_static|operations|scripts|deploy|tests)/[\w./-]+)`"
)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if "://" in target or target.startswith(("mailto:", "#")):
            continue
        name, _, anchor = target.partition("#")
        there = (document.parent / name).resolve()
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_files_that_are_named_exist(document: Path) -> None:
    for name in CODE_PATH.findall(document.read_text()):
        assert (ROOT / name).exists(), name


def anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_make_help_lists_every_target_of_the_readme() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"make ([a-z][a-z-]*)", (ROOT / "README.md").read_text()):
        assert f"make {target}" in listed or target in ("sure",)


def test_the_commands_of_the_operations_document_are_those_of_the_command_line() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    rows = text.split("| Command |")[1].split("\n\n")[0]
    documented = {
        word
        for cell in re.findall(r"^\| (.*?) \|", rows, re.MULTILINE)
        for word in re.findall(r"`([a-z-]+)", cell)
    }
    help_text = subprocess.run(
        [sys.executable, "-m", "operations.cli", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = set(re.findall(r"^  ([a-z][a-z-]+)  ", help_text.split("Commands:")[1], re.MULTILINE))
    assert documented == listed
