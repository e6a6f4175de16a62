"""A wrapped key goes from one real token to another, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pkcs11
import pytest

from core.errors import ConfigurationError, HaltIssuance
from core.settings import ModuleKind, Settings
from signer.vault.tokens import algorithms, keys, wrapping
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.keys import KeyAlgorithm
from signer.vault.tokens.modules import softhsm
from signer.vault.tokens.wrapping import Backup
from tests.signer.vault.tokens.modules import KINDS, found

ALGORITHMS = (KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P384)
PIN, SO_PIN = "correct horse", "so pin of the test"


@dataclass
class Two:
    """Two tokens of one module, and what the first gave to the second."""

    cryptoki: Cryptoki
    giving: str
    receiving: str
    receiver: bytes
    backups: tuple[Backup, ...]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    directory = tmp_path_factory.mktemp("two")
    cryptoki = Cryptoki(softhsm(Path(Settings().vault.module), directory / "tokens", directory / "conf"))
    giving, receiving = (cryptoki.make_token(label, SO_PIN, PIN) for label in ("giving", "receiving"))
    with cryptoki.open(giving, PIN, read_write=True) as session:
        for algorithm in ALGORITHMS:
            keys.generate(session, algorithm, algorithm, Custody.WRAPPED)
        keys.generate(session, "sealed", KeyAlgorithm.EC_P256, Custody.SEALED)
    with cryptoki.open(receiving, PIN, read_write=True) as session:
        receiver = wrapping.make_receiver(session)
    backups = wrapping.wrap(cryptoki, giving, PIN, SO_PIN, ALGORITHMS, receiver)
    yield Two(cryptoki, giving, receiving, receiver, backups)
    cryptoki.close()


@pytest.mark.clause("BR 6.2.6")
@pytest.mark.parametrize("number", range(len(ALGORITHMS)), ids=ALGORITHMS)
def test_a_restored_key_has_the_same_public_key_and_says_that_it_was_not_born_there(
    two: Two, number: int
) -> None:
    backup = two.backups[number]
    with two.cryptoki.open(two.receiving, PIN, read_write=True) as session:
        restored = wrapping.restore(session, backup)
        signature = keys.sign(keys.private_key(session, backup.label), restored.algorithm, b"octets")
    assert restored.spki == backup.spki
    assert restored.local is False
    algorithms.verify(restored.public_key, signature, b"octets")


@pytest.mark.clause("BR 6.2.6")
def test_a_backup_is_of_no_use_without_the_receiving_token(two: Two) -> None:
    third = two.cryptoki.make_token("third", SO_PIN, PIN)
    with two.cryptoki.open(third, PIN, read_write=True) as session:
        wrapping.make_receiver(session)
        with pytest.raises(HaltIssuance, match="refused to restore"):
            wrapping.restore(session, two.backups[0])
        assert not keys.exists(session, two.backups[0].label)


def test_a_backup_that_names_another_public_key_leaves_nothing_behind(two: Two) -> None:
    lying = replace(two.backups[1], label="lying", spki=two.backups[1].spki[:-1] + b"\x00")
    other = replace(two.backups[1], label="other", spki=_spki_of_another(two))
    with two.cryptoki.open(two.receiving, PIN, read_write=True) as session:
        for backup in (other, lying):
            with pytest.raises((HaltIssuance, ValueError)):
                wrapping.restore(session, backup)
            assert not keys.exists(session, backup.label)


def test_a_key_that_is_there_already_is_not_restored_over(two: Two) -> None:
    with (
        two.cryptoki.open(two.giving, PIN, read_write=True) as session,
        pytest.raises(HaltIssuance, match="already holds a key"),
    ):
        wrapping.restore(session, two.backups[0])


@pytest.mark.clause("BR 6.2.6")
def test_a_sealed_key_is_never_wrapped(two: Two) -> None:
    with pytest.raises(HaltIssuance, match="as wrapped custody wants"):
        wrapping.wrap(two.cryptoki, two.giving, PIN, SO_PIN, ["sealed"], two.receiver)


@pytest.mark.clause("BR 6.2.2")
def test_nothing_is_wrapped_without_the_security_officer(two: Two) -> None:
    with pytest.raises(ConfigurationError, match="security officer's PIN is not the one"):
        wrapping.wrap(two.cryptoki, two.giving, PIN, "not the officer's", ALGORITHMS[:1], two.receiver)


def test_the_keys_that_wrap_are_gone_afterwards(two: Two) -> None:
    with two.cryptoki.open(two.giving, PIN) as session:
        secret = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}
        assert not list(session.get_objects(secret))
        labels = {each[pkcs11.Attribute.LABEL] for each in session.get_objects()}
    assert labels == {*ALGORITHMS, "sealed"}


def test_softhsm2_keeps_wrap_with_trusted(two: Two) -> None:
    with two.cryptoki.open(two.giving, PIN, read_write=True) as session:
        wrapping.must_enforce_trust(session)


def test_nss_stores_wrap_with_trusted_and_ignores_it_and_is_found_out(tmp_path: Path) -> None:
    kind = next(kind for kind in KINDS if kind.kind is ModuleKind.NSS)
    cryptoki = Cryptoki(found(kind, tmp_path))
    try:
        serial = cryptoki.make_token("nss", SO_PIN, PIN)
        session = cryptoki.open(serial, PIN, read_write=True)
        with pytest.raises(HaltIssuance, match="wraps under a key that nobody trusted"):
            wrapping.must_enforce_trust(session)
        session.close()
    finally:
        cryptoki.close()


def _spki_of_another(two: Two) -> bytes:
    with two.cryptoki.open(two.giving, PIN) as session:
        return keys.find(session, "sealed").spki
