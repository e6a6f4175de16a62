"""What the tests of operators' calls have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data_directory import DataDirectory


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    """A data directory with a place for the app's socket."""
    made = DataDirectory(tmp_path)
    made.run.mkdir()
    return made
