"""A register, a software vault and a tree, as the tests of status have them, and its manifest."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pytest

from repo_static import publisher
from repo_static.manifest import signature
from repo_static.manifest.updater import ManifestUpdater
from repo_static.store import Store
from tests.status.conftest import House, house, status_settings

__all__ = ["house", "status_settings"]

BASE = "http://localhost:14080"


@dataclass
class Repository:
    """The tree of a house, and its manifest updater."""

    house: House
    store: Store
    updater: ManifestUpdater

    def restarted(self) -> ManifestUpdater:
        """The updater of a process that has just started."""
        house = self.house
        self.updater = ManifestUpdater(
            house.data.database,
            house.vault,
            house.settings,
            self.store,
            house.clock,
        )
        return self.updater

    async def published(self, force: bool = True) -> dict[str, Any]:
        """The manifest that is public after an update."""
        await self.updater.update(force)
        return self.manifest()

    def manifest(self) -> dict[str, Any]:
        """What is public, after its signature was checked."""
        content = self.store.read("manifest.json") or b""
        assert signature.read(self.store.read("manifest.jws") or b"").payload == content
        return json.loads(content)  # type: ignore[no-any-return]

    def lines(self, file: dict[str, Any]) -> list[dict[str, Any]]:
        """The lines of a list that a manifest names, after its digests were checked."""
        for each in (file, file["gzip"]):
            content = (self.store.read(each["url"].removeprefix(f"{BASE}/")) or b"")[: each["size"]]
            assert hashlib.sha256(content).hexdigest() == each["sha256"]
        assert (
            gzip.decompress(content)
            == (self.store.read(file["url"].removeprefix(f"{BASE}/")) or b"")[: file["size"]]
        )
        return [json.loads(line) for line in gzip.decompress(content).splitlines()]


@pytest.fixture
def repository(house: House) -> Repository:
    store = Store(house.data.repository)
    publisher.publish(store, house.vault.description(), house.settings)
    store.add("cps/cp-cps-1.0.en.md", b"A certification practice statement.\n")
    updater = ManifestUpdater(house.data.database, house.vault, house.settings, store, house.clock)
    return Repository(house, store, updater)
