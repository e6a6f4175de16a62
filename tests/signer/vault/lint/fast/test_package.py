"""signer/vault/lint/fast/ could go upstream: it stands on pkilint alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import signer.vault.lint.fast

PACKAGE = Path(signer.vault.lint.fast.__file__).parent
ALLOWED = {"pkilint", "pyasn1", "pyasn1_alt_modules", "pyasn1_fasder", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_it_imports_pkilint_and_itself_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert not node.level
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            assert name.split(".")[0] in ALLOWED or name.startswith("signer.vault.lint.fast"), name
