"""People: their signatures, what is sealed to them, their two files."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigurationError, Refused
from core.people import Identity, Person, seal, seal_to, verify
from core.randomness import SystemRandomness

PASSPHRASE = "correct horse battery staple"
RANDOM = SystemRandomness()
ALICE = Identity.make("Alice A", "operator", RANDOM)
BOB = Identity.make("Bob", "witness", RANDOM)


def test_a_signature_is_its_persons_and_of_these_octets_only() -> None:
    signature = ALICE.sign(b"transcript", b"head")
    verify(ALICE.person, b"transcript", b"head", signature)
    for person, context, octets, given_signature in (
        (BOB.person, b"transcript", b"head", signature),
        (ALICE.person, b"transcript", b"tail", signature),
        (ALICE.person, b"transcript", b"head", signature[:-1]),
        (ALICE.person, b"transcript", b"head", b""),
    ):
        with pytest.raises(Refused, match=r"person\.signature"):
            verify(person, context, octets, given_signature)


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    signature = ALICE.sign(b"activate", b"x")
    with pytest.raises(Refused, match=r"person\.signature"):
        verify(ALICE.person, b"deactivate", b"x", signature)
    with pytest.raises(ValueError, match="NUL"):
        ALICE.sign(b"activate\x00x", b"")


@given(st.binary(max_size=100))
def test_only_its_person_opens_what_was_sealed(secret: bytes) -> None:
    sealed = seal(ALICE.person, b"share 1", secret)
    assert ALICE.open(b"share 1", sealed) == secret
    with pytest.raises(Refused, match=r"person\.sealed"):
        BOB.open(b"share 1", sealed)
    with pytest.raises(Refused, match=r"person\.sealed"):
        ALICE.open(b"share 2", sealed)


def test_what_was_changed_does_not_open() -> None:
    sealed = seal(ALICE.person, b"", b"secret")
    for changed in (b"", sealed[:-1], sealed + b"x", bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(Refused, match=r"person\.sealed"):
            ALICE.open(b"", changed)


def test_nothing_is_sealed_to_a_key_that_everybody_can_open() -> None:
    with pytest.raises(Refused, match=r"person\.sealing-key"):
        seal_to(bytes(32), b"", b"secret")


def test_the_private_file_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "alice.identity"
    ALICE.save(path, PASSPHRASE, RANDOM)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    opened = Identity.load(path, PASSPHRASE)
    assert opened.person == ALICE.person
    verify(ALICE.person, b"x", b"y", opened.sign(b"x", b"y"))
    assert opened.open(b"", seal(ALICE.person, b"", b"z")) == b"z"
    with pytest.raises(Refused, match=r"person\.passphrase"):
        Identity.load(path, PASSPHRASE + "!")
    path.write_bytes(path.read_bytes().replace(b'"operator"', b'"security"'))
    with pytest.raises(Refused, match=r"person\.passphrase"):
        Identity.load(path, PASSPHRASE)


def test_the_private_file_shows_no_private_key(tmp_path: Path) -> None:
    path = tmp_path / "alice.identity"
    identity = Identity.make("Alice", "operator", _Known())
    identity.save(path, PASSPHRASE, RANDOM)
    assert b"\x07\x07\x07\x07" not in path.read_bytes()
    assert b"BwcHBwcH" not in path.read_bytes()


def test_no_file_is_overwritten_and_a_short_passphrase_writes_none(tmp_path: Path) -> None:
    path = tmp_path / "alice.identity"
    with pytest.raises(ConfigurationError, match="too short"):
        ALICE.save(path, "short", RANDOM)
    assert not path.exists()
    ALICE.save(path, PASSPHRASE, RANDOM)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="is kept"):
        BOB.save(path, PASSPHRASE, RANDOM)
    assert path.read_bytes() == before


def test_the_public_file_goes_round(tmp_path: Path) -> None:
    path = ALICE.person.save(tmp_path)
    assert path.name == "Alice-A.person.json"
    assert Person.load(path) == ALICE.person
    for content in (b"", b"{}", b'{"name":1}'):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError):
            Person.load(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Person.load(tmp_path / "nobody")


def test_a_person_is_named_by_both_keys() -> None:
    other = replace(ALICE.person, sealing_key=BOB.person.sealing_key)
    assert len({ALICE.person.id, BOB.person.id, other.id}) == 3
    assert len(ALICE.person.id) == 16
    with pytest.raises(ConfigurationError):
        replace(ALICE.person, signing_key=b"short")


@pytest.mark.clause("CPS 6.4")
def test_no_repr_shows_a_private_key() -> None:
    identity = Identity.make("Alice", "operator", _Known())
    shown = repr(identity)
    assert "_signing" not in shown
    assert "_sealing" not in shown
    assert "\\x07\\x07" not in shown


class _Known:
    """Octets that a test can search for; for no other use."""

    def octets(self, count: int) -> bytes:
        return b"\x07" * count
