"""status/ocsp/exported.py: the same answers as files, never older, and gone before they are over."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp

from status.ocsp import exported
from status.ocsp.exported import Exported
from tests.support.keeper import Kept
from tests.support.software_vault import DAY

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


@pytest.fixture
def kept(house: Any) -> Iterator[Kept]:
    made = Kept(house)
    files = Exported(house.data.ocsp_files, made.writer.index, house.clock)
    house.data.ocsp_files.mkdir()
    made.news._on_change = made.rounds._on_change = files.changed
    made.files = files  # type: ignore[attr-defined]
    yield made
    made.stop()


def path_of(kept: Kept, serial: bytes, hash_name: str = "sha256") -> Path:
    """Where a web server looks for it: the path of the GET, unescaped."""
    name = base64.b64encode(kept.house.request(serial, hash_name=hash_name)).decode()
    return Path(kept.house.data.ocsp_files) / name


def said(kept: Kept, serial: bytes, hash_name: str = "sha256") -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(path_of(kept, serial, hash_name).read_bytes())


async def exportable(kept: Kept) -> bytes:
    """A serial whose requests have no "//" in them."""
    for _ in range(20):
        serial: bytes = await kept.house.issue()
        forms = [
            base64.b64encode(kept.house.request(serial, hash_name=n)).decode() for n in ("sha1", "sha256")
        ]
        if not any("//" in form or form.endswith("/") for form in forms):
            return serial
    raise AssertionError("no serial can be exported")


@pytest.mark.clause("RFC 6960 appendix A.1")
async def test_a_file_is_the_answer_of_the_index_under_the_path_of_the_get(kept: Kept) -> None:
    serial = await exportable(kept)
    await kept.work()
    for hash_name in ("sha1", "sha256"):
        asked = kept.house.request(serial, hash_name=hash_name)
        path = path_of(kept, serial, hash_name)
        assert path.read_bytes() == (await kept.house.responder.answer(asked)).der
        assert path.stat().st_mode & 0o777 == 0o644
        assert path.stat().st_mtime == said(kept, serial, hash_name).this_update_utc.timestamp()


@pytest.mark.clause("BR 4.9.10")
async def test_a_revocation_replaces_the_file_and_without_the_vault_removes_it(kept: Kept) -> None:
    serial, other = await exportable(kept), await exportable(kept)
    await kept.work()
    await kept.house.revoke(serial, 4)
    await kept.news.look()
    assert said(kept, serial).certificate_status is REVOKED
    await kept.house.revoke(other, 4)
    kept.house.vault.away = True
    with pytest.raises(Exception, match="away"):
        await kept.news.look()
    assert not path_of(kept, other).exists()


async def test_there_are_no_more_files_than_belong_into_a_tree(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exported, "MOST", 2)
    first = await exportable(kept)
    await kept.work()
    other = await exportable(kept)
    await kept.work()
    files: Exported = kept.files  # type: ignore[attr-defined]
    for _ in range(2):
        assert said(kept, first).certificate_status is GOOD
        assert not path_of(kept, other).exists()
        assert files.sweep() == 2
        files.begin()
    assert caplog.text.count("the responder alone") == 1
    kept.house.clock.at += DAY
    await kept.work()
    assert said(kept, first).this_update_utc.timestamp() == kept.house.clock.at


async def test_a_renewal_replaces_the_file(kept: Kept) -> None:
    serial = await exportable(kept)
    await kept.work()
    kept.house.clock.at += DAY
    await kept.work()
    assert said(kept, serial).this_update_utc.timestamp() == kept.house.clock.at


async def test_what_is_soon_over_or_no_answer_is_removed(kept: Kept) -> None:
    serial = await exportable(kept)
    await kept.work()
    path_of(kept, serial, "sha1").write_bytes(b"torn")
    files: Exported = kept.files  # type: ignore[attr-defined]
    assert files.sweep() == 1
    kept.house.clock.at += 4 * DAY - 3601
    assert files.sweep() == 1
    kept.house.clock.at += 1
    assert files.sweep() == 0
    assert not path_of(kept, serial).exists()


async def test_at_its_start_the_export_is_made_that_of_the_index_and_off_it_is_empty(kept: Kept) -> None:
    serial = await exportable(kept)
    await kept.work()
    path_of(kept, serial).unlink()
    stray = Path(kept.house.data.ocsp_files) / "stray"
    stray.write_bytes(b"")
    kept.files.begin()  # type: ignore[attr-defined]
    assert said(kept, serial).certificate_status is GOOD
    assert not stray.exists()
    exported.remove(kept.house.data.ocsp_files)
    assert [*Path(kept.house.data.ocsp_files).iterdir()] == []
