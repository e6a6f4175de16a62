"""A hierarchy made once, copied for each test that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from tests.support import hierarchy


@pytest.fixture(scope="session")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """The data directory after the ceremony; not to be changed."""
    return hierarchy.made(tmp_path_factory.mktemp("ceremony"))


@pytest.fixture
def data(ceremony: DataDirectory, tmp_path: Path) -> DataDirectory:
    """A copy of it for one test."""
    shutil.copytree(ceremony.root, tmp_path / "data", symlinks=True)
    return DataDirectory(tmp_path / "data")
