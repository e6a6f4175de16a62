"""The copy of a SoftHSM2 token directory is a backup when it has proved itself, and not before."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import ConfigurationError, HaltIssuance
from core.settings import Settings
from signer.vault.tokens import cloning
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.modules import Module, softhsm
from signer.vault.tokens.session import Session

PIN = "correct horse"


@dataclass
class Token:
    """A token directory with one sealed key, closed."""

    directory: Path
    serial: str
    key: Key


def module(tokens: Path) -> Module:
    return softhsm(Path(Settings().vault.module), tokens, tokens.parent / f"{tokens.name}.conf")


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Token]:
    def made(name: str) -> Token:
        cryptoki = Cryptoki(module(tmp_path / name))
        try:
            serial = cryptoki.make_token("issuing", "so pin of the test", PIN)
            with cryptoki.open(serial, PIN, read_write=True) as session:
                key = Session(session).generate("ec-1", KeyAlgorithm.EC_P256)
        finally:
            cryptoki.close()
        return Token(tmp_path / name, serial, key)

    return made


@pytest.mark.clause("BR 6.2.4")
def test_a_copied_token_opens_with_its_pin_and_its_keys_are_the_same(
    make: Callable[[str], Token], tmp_path: Path
) -> None:
    token, copy = make("token"), tmp_path / "copy"
    cloning.clone(token.directory, copy)
    cloning.must_work(module(copy), token.serial, PIN, [token.key], Custody.SEALED)
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (copy, *copy.rglob("*")))


@pytest.mark.clause("BR 6.2.2")
def test_a_copied_token_does_not_open_without_its_pin(make: Callable[[str], Token], tmp_path: Path) -> None:
    token, copy = make("token"), tmp_path / "copy"
    cloning.clone(token.directory, copy)
    with pytest.raises(ConfigurationError, match="the PIN is not the one"):
        cloning.must_work(module(copy), token.serial, "another", [token.key], Custody.SEALED)


def test_a_copy_of_another_token_is_no_backup(make: Callable[[str], Token]) -> None:
    token, other = make("token"), make("other")
    with pytest.raises(HaltIssuance, match="is another one"):
        cloning.must_work(module(other.directory), other.serial, PIN, [token.key], Custody.SEALED)


def test_a_copy_never_overwrites_a_token(make: Callable[[str], Token]) -> None:
    token, other = make("token"), make("other")
    before = sorted(path.name for path in other.directory.rglob("*"))
    with pytest.raises(ConfigurationError, match="goes into a new directory"):
        cloning.clone(token.directory, other.directory)
    assert sorted(path.name for path in other.directory.rglob("*")) == before
