"""The layers of docs/architecture.md hold, and the key process is as bare as it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.clause("house: layers")
def test_no_line_imports_a_higher_one() -> None:
    result = subprocess.run([BIN / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.clause("house: the vault imports no web, SQL, Redis or DNS")
def test_the_vault_process_has_no_web_sql_or_dns_code_in_memory() -> None:
    probe = (
        "import sys, operations.process, signer.vault.server\n"
        "found = {'aiohttp', 'sqlite3', 'redis', 'dns', 'uvloop', 'typer', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(found)) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.clause("house: the supervisor never maps the token's library")
def test_the_supervisor_has_no_pkcs11_in_memory() -> None:
    probe = "import sys, operations.cli; sys.exit('pkcs11' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False).returncode == 0
