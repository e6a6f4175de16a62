"""`acme-server keys inventory`, on the hierarchy of a real ceremony."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ca import REPOSITORY
from tests.support.hierarchy import made


def inventory(data: Path, *words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "operations.cli", "keys", "inventory", "--data", str(data), *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.clause("CPS 6.2.10")
def test_every_ca_key_stands_in_the_inventory_with_its_places(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    entries = [json.loads(line) for line in inventory(data.root, "--json").splitlines()]
    assert [entry["issuer"] for entry in entries] == ["root", "rsa-1", "ec-1", "local-1"]
    assert all(len(entry["places"]) == 1 and entry["custody"] == "sealed" for entry in entries)
    text = inventory(data.root)
    assert all(entry["spki_sha256"] in text for entry in entries)
