"""The daily lists: each act once, on its day, and a day that is over never changes."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import pytest

from core import certificates, revocations
from repo_static.manifest import days, lists
from repo_static.store import NotPublished
from tests.repo_static.manifest.conftest import Repository
from tests.support.database import NOW, opened

DAY = 86400


async def test_what_is_signed_stands_in_the_list_of_its_day(repository: Repository) -> None:
    house = repository.house
    serial = await house.issue("rsa1")
    first = await house.precertify("ec1")
    manifest = await repository.published()
    today = manifest["days"]["open"]
    assert today["date"] == "2026-11-23"
    assert today["issued"]["count"] == 2
    assert today["issued"]["by_issuer"] == {"rsa1": {"tlsserver": 1}, "ec1": {"tlsserver": 1}}
    certificate, precertificate = repository.lines(today["issued"]["list"])
    assert certificate == {
        "at": "2026-11-23T00:00:00Z",
        "kind": "certificate",
        "issuer": "rsa1",
        "serial": serial.hex(),
        "not_before": "2026-11-23T00:00:00Z",
        "not_after": "2027-02-20T23:59:59Z",
        "sha256": hashlib.sha256(b"leaf" + serial).hexdigest(),
    }
    assert precertificate["kind"] == "precertificate"
    assert precertificate["sha256"] == hashlib.sha256(b"poisoned" + first).hexdigest()


async def test_a_precertificate_and_its_certificate_are_two_lines_and_one_serial_number(
    repository: Repository,
) -> None:
    house = repository.house
    serial = await house.precertify()
    await repository.published()
    await house.database.write(
        lambda tx: certificates.store(tx, serial.hex(), b"leaf" + serial, NOW, bytes(32), None)
    )
    issued = (await repository.published())["days"]["open"]["issued"]
    assert issued["count"] == 1
    assert [each["kind"] for each in repository.lines(issued["list"])] == ["precertificate", "certificate"]


async def test_a_serial_number_that_may_have_been_signed_counts_as_issued_and_revoked(
    repository: Repository,
) -> None:
    serial = await repository.house.reserve()
    await repository.house.database.write(lambda tx: certificates.mark_lost(tx, serial.hex()))
    today = (await repository.published())["days"]["open"]
    (lost,) = repository.lines(today["issued"]["list"])
    assert (lost["kind"], lost["sha256"]) == ("lost", None)
    assert (today["issued"]["count"], today["revoked"]["count"]) == (1, 1)


async def test_what_is_only_drawn_is_in_no_list(repository: Repository) -> None:
    await repository.house.reserve()
    today = (await repository.published())["days"]["open"]
    assert (today["issued"]["count"], repository.lines(today["issued"]["list"])) == (0, [])


async def test_no_line_names_a_subscriber(repository: Repository) -> None:
    await repository.house.revoke(await repository.house.issue(), 1)
    await repository.published()
    for kind in ("issued", "revoked"):
        (line,) = (repository.store.read(f"{kind}/2026-11-23.jsonl") or b"").splitlines()
        assert b"www.ca.example" not in line


async def test_a_reason_that_is_upgraded_later_is_a_line_of_that_later_day(repository: Repository) -> None:
    house = repository.house
    serial = await house.issue()
    await house.revoke(serial, 4)
    before = (await repository.published())["days"]["open"]["revoked"]
    (line,) = repository.lines(before["list"])
    assert (line["reason"], line["version"]) == ("superseded", 1)
    house.clock.at += 2 * DAY
    await house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "a test"))
    manifest = await repository.published()
    today = manifest["days"]["open"]
    assert today["date"] == "2026-11-25"
    (line,) = repository.lines(today["revoked"]["list"])
    assert (line["reason"], line["version"]) == ("keyCompromise", 2)
    assert line["revoked_at"] == "2026-11-23T00:00:00Z"
    assert today["revoked"]["count"] == 0
    closed = repository.lines(manifest["days"]["history"])
    assert [each["date"] for each in closed] == ["2026-11-23", "2026-11-24"]
    assert closed[0]["revoked"] == before
    assert repository.lines(closed[0]["revoked"]["list"])[0]["reason"] == "superseded"


async def test_a_day_is_not_over_before_its_last_commit_must_be_visible(repository: Repository) -> None:
    await repository.published()
    repository.house.clock.at += DAY + 59
    assert (await repository.published())["days"]["open"]["date"] == "2026-11-23"
    repository.house.clock.at += 1
    assert (await repository.published())["days"]["open"]["date"] == "2026-11-24"


async def test_a_list_only_grows(repository: Repository) -> None:
    house = repository.house
    await house.issue()
    early = await repository.published()
    for _ in range(3):
        await house.issue()
        await repository.published()
    # What an older manifest names is still there, at the beginning.
    assert len(repository.lines(early["days"]["open"]["issued"]["list"])) == 1
    assert len(repository.lines(repository.manifest()["days"]["open"]["issued"]["list"])) == 4


async def test_lines_that_no_manifest_names_are_cut_and_written_again(repository: Repository) -> None:
    house = repository.house
    await house.issue()
    await repository.published()
    await house.issue()
    house.vault.away = True
    before = repository.store.read("manifest.json")
    with pytest.raises(Exception, match="away"):
        await repository.restarted().update(force=True)
    assert repository.store.read("manifest.json") == before
    repository.lines(repository.manifest()["days"]["open"]["issued"]["list"])
    house.vault.away = False
    await house.issue()
    serials = [
        each["serial"]
        for each in repository.lines((await repository.published())["days"]["open"]["issued"]["list"])
    ]
    assert len(serials) == len(set(serials)) == 3


async def test_lists_that_are_gone_are_written_again(repository: Repository) -> None:
    house = repository.house
    await house.issue()
    house.clock.at += 2 * DAY
    await house.issue()
    before = await repository.published()
    for name in ("issued/2026-11-25.jsonl", "history.jsonl"):
        (repository.store.root / name).unlink()
    after = await repository.published()
    assert after["days"]["open"] == before["days"]["open"]
    assert repository.lines(after["days"]["history"]) == repository.lines(before["days"]["history"])


async def test_a_list_that_somebody_changed_is_not_signed_over(repository: Repository) -> None:
    await repository.house.issue()
    await repository.published()
    path = repository.store.root / "issued/2026-11-23.jsonl"
    path.write_bytes(b"x" * path.stat().st_size)
    await repository.house.issue()
    before = repository.store.read("manifest.json")
    with pytest.raises(NotPublished, match="who changed the file"):
        await repository.published()
    assert repository.store.read("manifest.json") == before


async def test_a_long_log_is_read_in_several_goes(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "WINDOW", 3)
    monkeypatch.setattr(days, "WINDOWS", 2)
    monkeypatch.setattr(days, "_PENDING", 1)
    for _ in range(10):
        await repository.house.issue()
    seen = []
    for _ in range(4):
        await repository.updater.update()
        seen.append(repository.manifest()["days"]["complete"])
    assert seen[0] is False
    assert seen[-1] is True
    manifest = repository.manifest()
    assert len(repository.lines(manifest["days"]["open"]["issued"]["list"])) == 10


async def test_after_a_restore_what_is_public_stays_and_new_acts_follow_it(repository: Repository) -> None:
    house = repository.house
    await house.issue()
    await house.issue()
    manifest = await repository.published()
    # The log was cut off behind its third record, and went on differently.
    await house.database.close()
    with closing(sqlite3.connect(house.data.database, isolation_level=None)) as register:
        register.execute("DELETE FROM audit WHERE sequence > 3")
    house.clock.at += 60
    async with opened(house.data.root, house.clock) as house.database:
        await house.database.write(lambda tx: tx.audit("restored", "a test", {}))
        await house.issue()
        await house.issue()
        after = await repository.published()
    assert len(repository.lines(manifest["days"]["open"]["issued"]["list"])) == 2
    assert len(repository.lines(after["days"]["open"]["issued"]["list"])) == 4
