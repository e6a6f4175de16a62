"""One vault process that all of these tests ask."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from core.data_directory import DataDirectory
from signer.client import Vault
from tests.support.vault import RunningVault


@pytest.fixture(scope="session")
def running(
    ceremony: DataDirectory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DataDirectory, RunningVault]]:
    root = tmp_path_factory.mktemp("vault") / "data"
    shutil.copytree(ceremony.root, root)
    data = DataDirectory(root)
    vault = RunningVault(data).start()
    yield data, vault
    vault.stop()


@pytest.fixture
async def vault(running: tuple[DataDirectory, RunningVault]) -> AsyncIterator[Vault]:
    client = Vault(running[0].vault_socket)
    yield client
    await client.close()
