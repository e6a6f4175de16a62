"""repo_static/crls.py: what the public CRLs are."""

from __future__ import annotations

from pathlib import Path

import pytest

from repo_static.crls import public_crls
from repo_static.store import Store
from signer.api import CrlRequest
from tests.support.software_vault import CREATED, DAY, SoftwareVault


async def crl(vault: SoftwareVault, number: int) -> bytes:
    return (await vault.sign_crl(CrlRequest("ec1", 0, number, CREATED, CREATED + DAY, ()))).whole([])


async def test_only_a_crl_that_has_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, store = SoftwareVault(), Store(tmp_path)
    for shard in range(11):
        store.replace(f"crl/ec1-{shard}.crl", await crl(vault, shard + 1))
    assert [(each.shard, each.number) for each in public_crls(store)] == [(n, n + 1) for n in range(11)]
    read: list[str] = []
    original = Store.read
    monkeypatch.setattr(Store, "read", lambda self, name: read.append(name) or original(self, name))
    store.replace("crl/ec1-3.crl", await crl(vault, 40))
    read.clear()
    assert [each.number for each in public_crls(Store(tmp_path))][3] == 40
    assert read == ["crl/ec1-3.crl"]


async def test_a_file_that_is_no_crl_hides_no_other_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.replace("crl/ec1-0.crl", await crl(SoftwareVault(), 7))
    store.replace("crl/ec1-1.crl", b"half of a CRL")
    store.replace("crl/note.txt", b"somebody was here")
    assert [each.name for each in public_crls(store)] == ["crl/ec1-0.crl"]
    assert "crl/ec1-1.crl is no CRL" in caplog.text
