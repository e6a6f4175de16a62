"""A transcript that was changed is found out; one that is whole can be judged by anybody."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from Crypto.Protocol.SecretSharing import Shamir

from core.clock import FakeClock
from core.errors import CaError, HaltIssuance, Refused
from core.people import Identity
from signer.vault.ceremony.transcript import Event, Line, Note, Transcript, read
from signer.vault.ceremony.verify import verify
from signer.vault.people.shares import Share, pin_of
from signer.vault.record import chain
from tests.support.ceremonies import hold, people, script


@pytest.fixture(scope="module")
def identities() -> list[Identity]:
    return people()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory, identities: list[Identity]) -> bytes:
    """The transcript of a ceremony of two of three."""
    held = hold(tmp_path_factory.mktemp("held"), script(identities), identities[:2])
    return held.transcript.read_bytes()


@pytest.mark.clause("BR 5.4.1")
def test_changing_any_single_line_is_found(content: bytes) -> None:
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines):
        at = line.index(b'"at":') + len(b'"at":')
        changed = line[:at] + b"2" + line[at + 1 :]
        with pytest.raises(HaltIssuance, match=f"line {number + 1} breaks the chain"):
            verify(b"".join([*lines[:number], changed, *lines[number + 1 :]]))


def test_leaving_out_any_line_but_the_last_is_found(content: bytes) -> None:
    lines = content.splitlines(keepends=True)
    for number in range(len(lines) - 1):
        with pytest.raises(CaError):
            verify(b"".join(lines[:number] + lines[number + 1 :]))


def test_cutting_the_end_off_leaves_a_ceremony_that_is_not_in_force(content: bytes) -> None:
    lines = content.splitlines(keepends=True)
    assert verify(content).state == "in force"
    for end in range(4, len(lines)):
        assert verify(b"".join(lines[:end])).state != "in force"


def rechained(content: bytes, change: Any) -> bytes:
    """The transcript with each line's object changed, and the whole chain made anew by the forger."""
    head, out = chain.GENESIS, []
    for octets in content.splitlines():
        line = msgspec.json.decode(octets, type=Line)
        before, detail = json.loads(bytes(line.detail)), json.loads(bytes(line.detail))
        change(line, detail)
        raw = line.detail if detail == before else msgspec.Raw(json.dumps(detail).encode())
        made, head = chain.seal(Line(line.sequence, line.at, line.event, line.step, raw, b""), head)
        out.append(made)
    return b"".join(out)


def test_a_forger_who_makes_the_chain_anew_contradicts_what_the_root_key_sealed(content: bytes) -> None:
    def another_title(line: Line, detail: dict[str, Any]) -> None:
        if line.event is Event.BEGUN and line.step == 1:
            detail["words"] = "something else was done"

    with pytest.raises(HaltIssuance, match="the seal is over something else than the steps made"):
        verify(rechained(content, another_title))


def test_a_person_cannot_sign_out_with_anothers_signature(content: bytes) -> None:
    seen: list[str] = []

    def swapped(line: Line, detail: dict[str, Any]) -> None:
        if line.event is Event.SIGNED:
            seen.append(detail["signature"])
            detail["signature"] = seen[0]

    with pytest.raises(Refused, match="the signature is not Bob's"):
        verify(rechained(content, swapped))


def test_the_hierarchy_in_force_names_its_transcript(content: bytes) -> None:
    lines = [*read(content)]
    sealed = next(line for line in lines if line.event is Event.DONE and line.step == 11)
    hierarchy = json.loads(json.loads(bytes(sealed.detail))["content"])["sealed"]
    assert hierarchy["transcript"] == base64.b64encode(lines[sealed.sequence - 2].hash).decode()


def test_a_script_that_was_exchanged_afterwards_is_found(content: bytes) -> None:
    def another_script(line: Line, detail: dict[str, Any]) -> None:
        if line.event is Event.BEGIN:
            detail["script"] = detail["script"].replace("EC Issuing CA 1", "EC Issuing CA 2")

    with pytest.raises(Refused, match="not the one of its hash"):
        verify(rechained(content, another_script))


def test_a_person_cannot_sign_in_with_anothers_signature(content: bytes) -> None:
    seen: list[str] = []

    def swapped(line: Line, detail: dict[str, Any]) -> None:
        if line.event is Event.PRESENT:
            seen.append(detail["signature"])
            detail["signature"] = seen[0]

    with pytest.raises(Refused, match="the signature is not Bob's"):
        verify(rechained(content, swapped))


def test_a_certificate_that_is_not_the_one_that_was_meant_is_found(content: bytes) -> None:
    certificates: list[str] = []

    def swapped(line: Line, detail: dict[str, Any]) -> None:
        if line.event is Event.DONE and "issuer" in detail:
            certificates.append(detail["issuer"]["certificate"])
            detail["issuer"]["certificate"] = certificates[0]

    with pytest.raises(HaltIssuance, match="what was signed is not what was meant"):
        verify(rechained(content, swapped))


def test_a_proof_of_possession_by_another_key_is_found(content: bytes) -> None:
    proofs: list[str] = []

    def swapped(line: Line, detail: dict[str, Any]) -> None:
        if line.event is Event.DONE and "proof" in detail:
            proofs.append(detail["proof"])
            detail["proof"] = proofs[0]

    with pytest.raises(HaltIssuance, match="generate-key"):
        verify(rechained(content, swapped))


def test_a_transcript_with_a_torn_last_line_goes_on_and_says_so(tmp_path: Path) -> None:
    clock = FakeClock(1_795_478_400)
    first = Transcript(tmp_path / "transcript", clock)
    first.append(Event.TORN, Note("a line"))
    first.close()
    with (tmp_path / "transcript").open("ab") as file:
        file.write(b'{"sequence":2,"at"')
    again = Transcript(tmp_path / "transcript", clock)
    again.close()
    assert [line.event for line in again.lines] == [Event.TORN, Event.TORN]
    assert again.lines[1].read(Note).words == '{"sequence":2,"at"'
    third = Transcript(tmp_path / "transcript", clock)
    third.close()
    assert third.head == again.head


@pytest.mark.clause("CPS 6.4.1")
def test_a_transcript_holds_no_share_and_no_pin(tmp_path: Path, identities: list[Identity]) -> None:
    transcript = hold(tmp_path, script(identities), identities[:2]).transcript.read_bytes()
    tokens = list((tmp_path / "vault" / "shares").iterdir())
    assert len(tokens) == 2
    for token in tokens:
        shares = [Share.load(token / f"{each.person.id}.share.json") for each in identities]
        opened = {share.index: share.open(each) for share, each in zip(shares, identities, strict=True)}
        secret = Shamir.combine(list(opened.items())[:2])
        secrets = [bytes(pin_of(secret)), secret, *opened.values(), *(share.sealed for share in shares)]
        for each in secrets:
            assert each not in transcript
            assert base64.b64encode(each) not in transcript
            assert each.hex().encode() not in transcript
