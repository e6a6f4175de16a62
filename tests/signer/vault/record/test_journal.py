"""The vault's journal: durable, chained, and the judge of every interrupted issuance."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import ClockSteppedBack, FakeClock
from core.errors import HaltIssuance
from signer.api import LintRecord, Recalled
from signer.vault.record.chain import GENESIS
from signer.vault.record.journal import Journal, Kind, crl_issuance_id

NOW = 1_795_392_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def journal(path: Path, clock: FakeClock) -> Iterator[Journal]:  # type: ignore[misc]
    opened = Journal(path, clock)
    yield opened
    opened.close()


async def _issuance(journal: Journal, number: int) -> None:
    id, serial = f"issuance-{number}", bytes([1, number])
    await journal.append(Kind.INTENT, issuance_id=id, issuer_id="ec-1", serial=serial, tbs=b"tbs%d" % number)
    await journal.append(
        Kind.RESULT, issuance_id=id, issuer_id="ec-1", serial=serial, certificate=b"certificate%d" % number
    )


@pytest.mark.clause("house: the crash rule")
async def test_what_is_not_durable_yet_is_told_to_nobody(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await journal.append(Kind.INTENT, issuance_id="a", serial=b"\x01", tbs=b"tbs")
    disk = threading.Event()
    monkeypatch.setattr("signer.vault.record.journal.os.fdatasync", lambda file: disk.wait(10))
    result = asyncio.ensure_future(journal.append(Kind.RESULT, issuance_id="a", certificate=b"certificate"))
    await asyncio.sleep(0)
    assert journal.sequence == 2
    assert [entry.kind for entry in journal.page(0, 9)] == ["intent"]
    assert journal.recall("a") == Recalled(True, None)
    disk.set()
    await result
    assert journal.recall("a") == Recalled(True, b"certificate")


async def test_an_unknown_issuance_has_no_intent(journal: Journal) -> None:
    assert journal.recall("never") == Recalled(False, None)


@pytest.mark.clause("house: the crash rule")
async def test_an_intent_without_a_result_is_told_as_such(journal: Journal) -> None:
    await journal.append(Kind.INTENT, issuance_id="a", serial=b"\x01", tbs=b"tbs")
    assert journal.recall("a") == Recalled(True, None)


async def test_a_result_is_given_back_octet_for_octet(journal: Journal) -> None:
    await _issuance(journal, 7)
    assert journal.recall("issuance-7") == Recalled(True, b"certificate7")


async def test_what_was_written_is_found_again_when_the_journal_is_opened_again(
    path: Path, clock: FakeClock
) -> None:
    first = Journal(path, clock)
    for number in range(5):
        await _issuance(first, number)
    lint = LintRecord(("lint 1",), ("warning odd",))
    await first.append(Kind.RESULT, issuance_id="linted", certificate=b"certificate", lint=lint)
    await first.append(Kind.INTENT, issuance_id="open", serial=b"\x02\x02", tbs=b"tbs")
    pages = first.page(0, 100)
    first.close()
    second = Journal(path, clock)
    assert second.page(0, 100) == pages
    assert second.recall("issuance-3") == Recalled(True, b"certificate3")
    assert second.recall("linted") == Recalled(True, b"certificate", lint)
    assert second.recall("open") == Recalled(True, None)
    assert second.has_serial(b"\x02\x02")
    assert not second.has_serial(b"\x02\x03")
    second.close()


async def test_a_page_begins_after_the_number_asked_for_and_is_no_longer_than_asked(journal: Journal) -> None:
    for number in range(3):
        await _issuance(journal, number)
    assert [entry.sequence for entry in journal.page(2, 3)] == [3, 4, 5]
    assert journal.page(6, 10) == ()


@pytest.mark.clause("BR 5.4.1")
async def test_anybody_can_check_the_chain_with_json_and_sha256_alone(path: Path, journal: Journal) -> None:
    for number in range(3):
        await _issuance(journal, number)
    previous = GENESIS
    for line in path.read_bytes().splitlines():
        digest = base64.b64decode(json.loads(line)["hash"])
        start = line.rindex(b'"hash":"') + len(b'"hash":"')
        assert hashlib.sha256(previous + line[:start] + b'"}').digest() == digest
        previous = digest


async def test_appends_that_wait_together_become_durable_together(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = 0
    fdatasync = os.fdatasync

    def counted(file: int) -> None:
        nonlocal synced
        synced += 1
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", counted)
    await asyncio.gather(*(_issuance(journal, number) for number in range(50)))
    assert journal.sequence == 100
    assert synced < 50


async def test_a_changed_octet_in_the_middle_stops_the_vault(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock)
    for number in range(3):
        await _issuance(journal, number)
    journal.close()
    changed = path.read_bytes().replace(b"issuance-1", b"issuance-9", 1)
    path.write_bytes(changed)
    with pytest.raises(HaltIssuance, match="entry 3 breaks the chain"):
        Journal(path, clock)
    assert path.read_bytes() == changed


async def test_entries_of_an_older_software_still_hold(path: Path, clock: FakeClock) -> None:
    """`lint` came later: a data directory must survive the update that brings a field."""
    fields = {"sequence": 1, "at": NOW, "kind": "intent", "issuance_id": "old", "issuer_id": "ec-1"}
    fields |= {"serial": "AQ==", "tbs": "dGJz", "certificate": "", "hash": ""}
    line = json.dumps(fields, separators=(",", ":")).encode()
    digest = base64.b64encode(hashlib.sha256(GENESIS + line).digest())
    path.write_bytes(line[:-2] + digest + b'"}\n')
    journal = Journal(path, clock)
    await _issuance(journal, 1)
    journal.close()
    assert Journal(path, clock).sequence == 3


@pytest.mark.parametrize("end", [b'" }\n', b'","hash":"AA=="}\n', b'"}\r\n'])
async def test_a_line_that_ends_otherwise_stops_the_vault(path: Path, clock: FakeClock, end: bytes) -> None:
    journal = Journal(path, clock)
    await _issuance(journal, 1)
    journal.close()
    path.write_bytes(path.read_bytes().replace(b'"}\n', end))
    with pytest.raises(HaltIssuance, match="entry 1 breaks the chain"):
        Journal(path, clock)


@pytest.mark.parametrize("kept", [[0, 2, 3], [0, 2, 1, 3], [1, 2, 3]])
async def test_a_dropped_or_moved_line_stops_the_vault(path: Path, clock: FakeClock, kept: list[int]) -> None:
    journal = Journal(path, clock)
    for number in range(2):
        await _issuance(journal, number)
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[index] for index in kept))
    with pytest.raises(HaltIssuance, match="breaks the chain"):
        Journal(path, clock)


@pytest.mark.parametrize("lost", [1, 10, 150])
async def test_a_torn_last_line_is_cut_off_and_told(path: Path, clock: FakeClock, lost: int) -> None:
    journal = Journal(path, clock)
    await _issuance(journal, 1)
    await journal.append(Kind.INTENT, issuance_id="torn", serial=b"\x09", tbs=b"tbs" * 100)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    again = Journal(path, clock)
    await again.append(Kind.START)
    assert again.recall("torn") == Recalled(False, None)
    torn = again.page(2, 1)[0]
    assert torn.kind == Kind.TORN
    assert whole[:-lost].endswith(torn.tbs)
    again.close()
    Journal(path, clock).close()


async def test_the_crl_number_of_each_scope_is_remembered(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock)
    for issuer, shard, number in (("ec-1", 0, 4), ("ec-1", 1, 9), ("rsa-1", 0, 2), ("ec-1", 0, 5)):
        await journal.append(Kind.CRL_INTENT, issuance_id=crl_issuance_id(issuer, shard, number))
    journal.close()
    again = Journal(path, clock)
    assert again.last_crl_number("ec-1", 0) == 5
    assert again.last_crl_number("ec-1", 1) == 9
    assert again.last_crl_number("rsa-1", 1) == 0
    again.close()


async def test_a_clock_behind_the_journal_begins_no_certificate(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock)
    await _issuance(journal, 1)
    journal.close()
    before = path.read_bytes()
    again = Journal(path, FakeClock(NOW - 3600))
    for kind in (Kind.INTENT, Kind.PRECERTIFICATE_INTENT, Kind.RESPONDER_INTENT):
        with pytest.raises(ClockSteppedBack):
            await again.append(kind, issuance_id="issuance-2")
    again.close()
    assert path.read_bytes() == before


@pytest.mark.clause("BR 4.9.3")
async def test_a_clock_behind_the_journal_leaves_crls_to_be_signed(path: Path, clock: FakeClock) -> None:
    journal = Journal(path, clock)
    await _issuance(journal, 1)
    latest = journal.last
    journal.close()
    again = Journal(path, FakeClock(NOW - 3600))
    await again.append(Kind.CRL_INTENT, issuance_id=crl_issuance_id("ec-1", 0, 4))
    assert latest is not None
    assert again.last is not None
    assert again.last.at == latest.at  # no entry is dated before the one that it follows
    again.close()


async def test_a_full_disk_halts_and_nothing_is_appended_any_more(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _issuance(journal, 1)
    before = path.read_bytes()

    def full(file: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(HaltIssuance, match="until the disk is in order"):
            await journal.append(Kind.START)
    with pytest.raises(HaltIssuance):
        await journal.append(Kind.START)
    assert path.read_bytes() == before


@pytest.mark.clause("house: the crash rule")
def test_an_intent_that_was_acknowledged_survives_kill_9(path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import asyncio, os
        from pathlib import Path
        from core.clock import FakeClock
        from signer.vault.record.journal import Journal, Kind

        async def main():
            journal = Journal(Path({str(path)!r}), FakeClock({NOW}))
            await journal.append(Kind.INTENT, issuance_id="a", serial=b"\\x01", tbs=b"tbs")
            os.kill(os.getpid(), {int(signal.SIGKILL)})

        asyncio.run(main())
        """
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL

    async def look() -> None:
        journal = Journal(path, FakeClock(NOW))
        assert journal.recall("a") == Recalled(True, None)
        assert journal.has_serial(b"\x01")
        journal.close()

    asyncio.run(look())
