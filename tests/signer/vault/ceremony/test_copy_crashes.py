"""kill -9 of a backup and of a destruction at every step: run again, and the inventory is true."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What each try came to (tests/support/copy_crashes.py)."""
    directory = tmp_path_factory.mktemp("copies")
    subprocess.run([sys.executable, "-m", "tests.support.copy_crashes", directory], check=True, timeout=300)
    found = [json.loads(path.read_text()) for path in sorted(directory.glob("*/found.json"))]
    shutil.rmtree(directory)
    return found


@pytest.mark.clause("CPS 6.2.10")
def test_whatever_was_killed_when_the_key_ends_in_no_place_and_its_neighbour_in_all(
    tries: list[dict[str, object]],
) -> None:
    assert len(tries) == 12
    for each in tries:
        assert each["killed"] == -9, each
        assert each["resumed"] == 0, each
        assert each["sealed"] == {"ec-1": 0, "local-1": 2, "root": 1}, each
        assert each["token"] == ["local-1"], each
        assert each["copy"] == ["local-1"], each
        assert each["whole"], each
