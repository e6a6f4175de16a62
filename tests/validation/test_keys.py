"""A perspective's key on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.errors import ConfigurationError
from core.evidence import CaaSeen, Result, Statement, verify
from core.randomness import SystemRandomness
from validation.keys import generate_key, load_key, load_private_key, public_key_octets

STATEMENT = Statement("local", "a.example", "https://ca/a/1", "t", 1, None, CaaSeen(Result.PASS))


def test_what_the_loaded_key_signs_verifies_under_the_public_key_given_at_the_set_up(tmp_path: Path) -> None:
    spki = generate_key(tmp_path / "local", SystemRandomness())
    public_key = serialization.load_der_public_key(spki)
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert verify(load_key(tmp_path / "local").sign(STATEMENT), public_key) == STATEMENT
    assert public_key_octets(load_private_key(tmp_path / "local")) == spki


def test_the_key_lies_encrypted_and_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "local"
    generate_key(directory, SystemRandomness())
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (directory / "key.pem").read_bytes()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}


def test_without_a_key_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="acme-server perspective-key oslo makes it"):
        load_key(tmp_path / "oslo")


def test_a_passphrase_kept_elsewhere_is_used_and_not_copied(tmp_path: Path) -> None:
    passphrase = tmp_path / "elsewhere"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    generate_key(tmp_path / "local", SystemRandomness(), passphrase)
    assert [file.name for file in (tmp_path / "local").iterdir()] == ["key.pem"]
    load_key(tmp_path / "local", passphrase)
    with pytest.raises(ConfigurationError, match="passphrase"):
        load_key(tmp_path / "local")


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    generate_key(tmp_path, SystemRandomness())
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(ConfigurationError, match="move it away"):
        generate_key(tmp_path, SystemRandomness())
    assert (tmp_path / "key.pem").read_bytes() == before


def test_a_wrong_passphrase_is_a_configuration_error(tmp_path: Path) -> None:
    generate_key(tmp_path, SystemRandomness())
    (tmp_path / "passphrase").write_text("wrong")
    with pytest.raises(ConfigurationError, match="does not open"):
        load_key(tmp_path)


@pytest.mark.parametrize("name", ["key.pem", "passphrase"])
def test_a_file_open_to_others_is_refused(tmp_path: Path, name: str) -> None:
    generate_key(tmp_path, SystemRandomness())
    (tmp_path / name).chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_key(tmp_path)


def test_a_missing_key_names_the_set_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set-up"):
        load_key(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    generate_key(tmp_path, SystemRandomness())
    other = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption((tmp_path / "passphrase").read_bytes()),
    )
    (tmp_path / "key.pem").write_bytes(other)
    with pytest.raises(ConfigurationError, match="no P-256 key"):
        load_key(tmp_path)
