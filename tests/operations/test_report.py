"""`acme-server status`: what it names as not conforming."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from operations import report
from operations.isolation import Isolation


@pytest.mark.clause("CPS 6.2")
def test_a_root_token_that_was_not_brought_to_its_safe_is_named(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    walls = Isolation("")

    def faults() -> list[str]:
        return [each for each in report._not_conforming(data, "", walls, None) if "on-line" in each]

    assert faults() == []
    (data.tokens / "root").mkdir(parents=True)
    (said,) = faults()
    assert str(data.tokens / "root") in said
    assert "bring it to its safe" in said
