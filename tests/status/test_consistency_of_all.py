"""Thousands of serials: register = OCSP by POST, GET and file = CRL = manifest, all through their history.

The same history as in test_consistency.py, with a keeper that signs ahead, its exported files, and the
manifest with its daily lists beside it.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from core.causes import REASONS
from core.clock import FakeClock
from core.settings import Status
from repo_static import publisher
from repo_static.manifest.updater import ManifestUpdater
from repo_static.store import Store
from status.ocsp.exported import Exported
from tests.status.test_consistency import ISSUERS, SHARDS, Town, history
from tests.support import agreement
from tests.support.database import NOW
from tests.support.keeper import Kept
from tests.support.restores import alive, back_up, restore
from tests.support.software_vault import DAY, SoftwareVault

COUNT = 2000
RESTORED = 1000
EXPORTED = 0.5
"""At least so many of the answers have a file: the rest have "//" in their path."""


@dataclass
class WholeTown(Town):
    """A town that also signs ahead, exports files and publishes a manifest."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        house = self.house
        self.store = Store(house.data.repository)
        publisher.publish(self.store, house.vault.description(), house.settings)
        self.manifests = ManifestUpdater(
            house.data.database, house.vault, house.settings, self.store, house.clock
        )
        house.data.ocsp_files.mkdir(exist_ok=True)
        self.keeper = Kept(house, serials=500)
        files = Exported(house.data.ocsp_files, self.keeper.writer.index, house.clock)
        self.keeper.news._on_change = self.keeper.rounds._on_change = files.changed
        try:
            yield
        finally:
            self.keeper.stop()

    async def contradictions(self) -> list[str]:
        await self.keeper.work()
        await self.manifests.update(force=True)
        found = self.contradictions_of_crls({**await self.ask(), "file": self.files()})
        return found + self.contradictions_of_the_manifest()

    def files(self) -> dict[bytes, bytes]:
        """What a plain web server answers, of those that have a file; a living certificate is one of them."""
        found, wanted = {}, 0
        for row in agreement.rows(self.ca.database.reader):
            if row.issuer_id not in ISSUERS or row.not_after < self.clock.at + DAY:
                continue
            asked = base64.b64encode(self.house.request(row.serial, row.issuer_id, "sha1")).decode()
            path = self.house.data.ocsp_files / asked
            wanted += agreement.meant(row) != agreement.NOTHING
            if "//" not in asked and path.is_file():
                found[row.serial] = path.read_bytes()
        assert len(found) > EXPORTED * wanted
        return found

    def contradictions_of_the_manifest(self) -> list[str]:
        """Its lists against the register's rows, its digests against the CRLs."""
        said = json.loads(self.store.read("manifest.json") or b"")
        found = [
            f"the manifest has another {crl['issuer']}-{crl['shard']}"
            for crl in said["crls"]
            if crl["issuer"] != "root"
            and sha256(self.crls()[crl["issuer"], crl["shard"]]).hexdigest() != crl["sha256"]
        ]
        revoked = {line["serial"]: line["reason"] for line in self._lines("revoked")}
        issued = {line["serial"] for line in self._lines("issued")}
        for row in agreement.rows(self.ca.database.reader):
            word, serial = agreement.meant(row), row.serial.hex()
            if (serial in issued) != (word != agreement.NOTHING):
                found.append(f"the lists and the register differ on whether {serial} was issued")
            wanted = REASONS.get(row.reason, "unspecified") if word[0] == "revoked" else None
            if revoked.get(serial) != wanted:
                found.append(f"the lists say {revoked.get(serial)} of {serial}, the register {wanted}")
        return found

    def _lines(self, what: str) -> Iterator[dict[str, Any]]:
        for name in self.store.names(what):
            if name.endswith(".jsonl"):
                yield from map(json.loads, (self.store.read(name) or b"").splitlines())


@pytest.mark.long
@pytest.mark.clause("BR 4.9.10")
@pytest.mark.clause("requirements 2.63")
async def test_register_ocsp_files_crls_and_manifest_say_the_same_of_thousands_of_serials(
    house_class: Any, tmp_path: Path
) -> None:
    vault, clock = SoftwareVault(NOW + 365 * DAY), FakeClock(NOW)
    vault.shard_base = "http://localhost:14080"
    status = Status(crl_shards=SHARDS, ocsp_files=True)
    async with alive(house_class, tmp_path, clock, vault, status) as ca:
        town = WholeTown(ca, clock, random.Random(3))
        with town.at_work():
            assert await history(town, COUNT) == []


@pytest.mark.long
@pytest.mark.clause("CPS 5.7.4")
@pytest.mark.clause("requirements 2.67")
async def test_after_a_restore_they_still_say_the_same_and_revoked_what_was_revoked_after_the_backup(
    house_class: Any, tmp_path: Path
) -> None:
    vault, clock = SoftwareVault(NOW + 365 * DAY), FakeClock(NOW)
    vault.shard_base = "http://localhost:14080"
    status = Status(crl_shards=SHARDS, ocsp_files=True)
    place, backup, chance = tmp_path / "ca", tmp_path / "backup", random.Random(4)
    place.mkdir()
    async with alive(house_class, place, clock, vault, status) as ca:
        town = WholeTown(ca, clock, chance)
        with town.at_work():
            await town.populate(RESTORED)
            await town.house.updater().update()
            assert await town.contradictions() == []
            back_up(place, backup)
            clock.at += 3600
            later = chance.sample(town.good(), RESTORED // 10)
            await town.revoke(later)
            await town.compromise(0.2)
            await town.house.updater().update()
            assert await town.contradictions() == []
            before = _revocations(ca.database.reader)
    restore(backup, place, "database")
    clock.at += 60
    async with alive(house_class, place, clock, vault, status) as ca:
        assert ca.missing == []
        assert _revocations(ca.database.reader) == before
        town = WholeTown(ca, clock, chance, town.serials)
        with town.at_work():
            await town.house.updater().update()
            assert await town.contradictions() == []


def _revocations(rows: Any) -> list[tuple[Any, ...]]:
    return [
        tuple(row) for row in rows.all("SELECT serial, reason, revoked_at FROM revocations ORDER BY serial")
    ]
