"""kill -9 of a ceremony at every step: it goes on, by other people, or its step is cleanly void."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from core.data_directory import DataDirectory
from signer.vault.ceremony.draft import serial_of
from signer.vault.ceremony.past import transcripts
from signer.vault.ceremony.step import ROOT
from signer.vault.ceremony.transcript import Event, Intent, Line, read, whole
from signer.vault.ceremony.verify import verify
from signer.vault.sealed import hierarchy
from tests.support.hierarchy import settings

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One directory for each step at which a ceremony was killed (tests/support/ceremony_crashes.py)."""
    directory = tmp_path_factory.mktemp("crashes")
    subprocess.run(
        [sys.executable, "-m", "tests.support.ceremony_crashes", directory], check=True, timeout=500
    )
    found = sorted(directory.glob("[0-9]*"))
    assert len(found) > 50
    return found


def lines(each: Path) -> list[Line]:
    return [*read(transcripts(DataDirectory(each / "data"))[-1].read_bytes())]


def steps(each: Path) -> str:
    return ", ".join(json.loads((each / "steps").read_text()))


def root_intents(found: list[Line]) -> dict[bytes, bool]:
    """The serial numbers that the root key was to sign; whether their step was done."""
    meant: dict[bytes, bool] = {}
    last = b""
    for line in found:
        if line.event is Event.INTENT:
            intent = line.read(Intent)
            last = intent.serial if intent.by == ROOT else b""
            if last:
                assert last not in meant, "a serial number was meant twice"
                meant[last] = False
        elif line.event is Event.DONE and last:
            meant[last], last = True, b""
    return meant


def test_what_the_killed_process_left_can_be_judged_and_is_not_in_force(tries: list[Path]) -> None:
    for each in tries:
        assert verify(whole((each / "killed").read_bytes())).state != "in force", steps(each)


def test_other_people_go_on_with_every_one_of_them(tries: list[Path]) -> None:
    for each in tries:
        assert (each / "resumed").read_text() == "0", steps(each)
        report = verify(transcripts(DataDirectory(each / "data"))[-1].read_bytes())
        assert report.state == "in force", steps(each)
        assert hierarchy.load(DataDirectory(each / "data"), settings()).sequence == 1


def test_the_transcript_says_that_the_killed_step_is_void(tries: list[Path]) -> None:
    for each in tries:
        killed = [*read(whole((each / "killed").read_bytes()))]
        under_way = killed[-1].event in (Event.BEGUN, Event.INTENT)
        after = lines(each)[len(killed) :]
        assert [line.event for line in after].count(Event.VOID) == int(under_way), steps(each)


@pytest.mark.clause("BR 7.1.2.7")
def test_no_serial_number_is_meant_twice_and_what_may_be_signed_is_in_the_root_crl(tries: list[Path]) -> None:
    burnt = 0
    for each in tries:
        sealed = hierarchy.load(DataDirectory(each / "data"), settings())
        listed = {entry.serial_number for entry in x509.load_der_x509_crl(sealed.root_crl)}
        meant = root_intents(lines(each))
        lost = {int.from_bytes(serial) for serial, done in meant.items() if not done}
        assert listed == lost, steps(each)
        burnt += len(lost)
        certificates = [sealed.root, *(issuer.certificate for issuer in sealed.issuers)]
        assert {serial_of(certificate) for certificate in certificates} == {
            serial for serial, done in meant.items() if done
        }
    assert burnt > 9


def test_no_crl_number_is_signed_twice(tries: list[Path]) -> None:
    for each in tries:
        numbers = [
            line.read(Intent).number
            for line in lines(each)
            if line.event is Event.INTENT and line.read(Intent).number
        ]
        assert numbers == sorted(set(numbers)), steps(each)


@pytest.mark.clause("BR 6.1.1.1")
def test_each_token_holds_the_keys_of_the_transcript_and_no_other(tries: list[Path]) -> None:
    for each in tries:
        labels = json.loads((each / "labels.json").read_text())
        assert labels == {"issuing": ["ec-1", "local-1"], "root": ["root"]}, steps(each)
