"""A hierarchy made once, copied for each test that changes it; an issuance on a vault of memory."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.database import Database
from signer.issuance import Issuance
from tests.support import hierarchy
from tests.support.database import opened
from tests.support.memory_vault import MemoryVault, issuance_with


@pytest.fixture(scope="session")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """The data directory after the ceremony; not to be changed."""
    return hierarchy.made(tmp_path_factory.mktemp("ceremony"))


@pytest.fixture
def data(ceremony: DataDirectory, tmp_path: Path) -> DataDirectory:
    """A copy of it for one test."""
    shutil.copytree(ceremony.root, tmp_path / "data", symlinks=True)
    return DataDirectory(tmp_path / "data")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(tmp_path) as database:
        yield database


@pytest.fixture
def vault() -> MemoryVault:
    return MemoryVault()


@pytest.fixture
async def issuance(vault: MemoryVault, database: Database) -> Issuance:
    made = issuance_with(vault, database)
    await made.reconcile()
    return made
