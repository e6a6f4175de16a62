"""The token behind PKCS#11, with a real SoftHSM2: locking, keys that cannot leave, many threads."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute

from core.errors import ConfigurationError, HaltIssuance, TransientError
from core.settings import Settings
from signer.vault.tokens import algorithms, keys
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.message import Message
from signer.vault.tokens.modules import Module, softhsm
from signer.vault.tokens.session import Session
from signer.vault.tokens.token import TokenThreads

MODULE = Path(Settings().vault.module)
PIN = "correct horse"


@dataclass
class Opened:
    """A token with one key of each kind, and the threads on it."""

    module: Module
    cryptoki: Cryptoki
    serial: str
    threads: TokenThreads
    keys: dict[KeyAlgorithm, Key]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    directory = tmp_path_factory.mktemp("token")
    module = softhsm(MODULE, directory / "tokens", directory / "softhsm2.conf")
    cryptoki = Cryptoki(module)
    serial = cryptoki.make_token("test", "so pin of the test", PIN)
    threads = TokenThreads(cryptoki, serial, PIN, 4)
    made = {
        algorithm: threads.keeper.generate(algorithm, algorithm)
        for algorithm in (KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P384)
    }
    yield Opened(module, cryptoki, serial, threads, made)
    threads.close()


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P384])
async def test_a_signature_verifies_with_the_algorithm_of_the_key(
    opened: Opened, algorithm: KeyAlgorithm
) -> None:
    key = opened.keys[algorithm]
    signature = await opened.threads.sign(key, b"to be signed")
    algorithms.verify(key.public_key, signature, b"to be signed")


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P384])
async def test_what_lies_in_pieces_is_signed_as_what_lies_in_a_row(
    opened: Opened, algorithm: KeyAlgorithm
) -> None:
    key, message = opened.keys[algorithm], Message(b"to be", b"", b" signed")
    assert (len(message), bytes(message)) == (12, b"to be signed")
    signature = await opened.threads.sign(key, message)
    algorithms.verify(key.public_key, signature, b"to be signed")
    algorithms.verify(key.public_key, signature, message)
    for other in (Message(b"to be", b" Signed"), Message(b" signed", b"to be"), b"to be signed!"):
        with pytest.raises(ValueError, match="does not verify"):
            algorithms.verify(key.public_key, signature, other)


async def test_four_threads_sign_at_once_and_every_signature_verifies(opened: Opened) -> None:
    pairs = [(key, b"%d" % number) for number in range(100) for key in opened.keys.values()]
    signatures = await asyncio.gather(*(opened.threads.sign(key, data) for key, data in pairs))
    for (key, data), signature in zip(pairs, signatures, strict=True):
        algorithms.verify(key.public_key, signature, data)


def test_the_self_test_passes_on_a_sound_token(opened: Opened) -> None:
    opened.threads.self_test(opened.keys.values())


def test_the_self_test_fails_when_a_key_is_not_the_one_of_the_certificate(opened: Opened) -> None:
    other = opened.threads.keeper.generate("other", KeyAlgorithm.EC_P256)
    mixed = Key("other", KeyAlgorithm.EC_P256, opened.keys[KeyAlgorithm.EC_P256].public_key)
    assert other.public_key != mixed.public_key
    with pytest.raises(HaltIssuance):
        opened.threads.self_test([mixed])


async def test_a_key_that_is_not_there_is_a_halt_and_the_threads_go_on(opened: Opened) -> None:
    missing = Key("missing", KeyAlgorithm.EC_P256, opened.keys[KeyAlgorithm.EC_P256].public_key)
    with pytest.raises((HaltIssuance, TransientError)):
        await opened.threads.sign(missing, b"x")
    await opened.threads.sign(opened.keys[KeyAlgorithm.EC_P256], b"x")


@pytest.mark.clause("BR 6.2.7")
@pytest.mark.parametrize("algorithm", [KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256])
def test_no_private_value_can_be_read_from_the_token(opened: Opened, algorithm: KeyAlgorithm) -> None:
    session = opened.cryptoki.join(opened.serial)
    private = keys.private_key(session, algorithm)
    secret = Attribute.PRIVATE_EXPONENT if algorithm is KeyAlgorithm.RSA_2048 else Attribute.VALUE
    with pytest.raises(pkcs11.PKCS11Error):
        private[secret]
    session.close()


def test_a_label_is_used_once(opened: Opened) -> None:
    with pytest.raises(HaltIssuance, match="already holds a key"):
        opened.threads.keeper.generate(KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P256)
    assert opened.threads.keeper.find(KeyAlgorithm.EC_P256) == opened.keys[KeyAlgorithm.EC_P256]


@pytest.mark.clause("BR 6.1.1")
def test_a_key_that_was_carried_into_the_token_is_refused(opened: Opened) -> None:
    session = opened.threads.keeper._session
    public, private = session.create_domain_parameters(
        pkcs11.KeyType.EC,
        {Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters("secp256r1")},
        local=True,
    ).generate_keypair(
        label="loose", store=True, private_template={Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}
    )
    assert public.label == private.label == "loose"
    with pytest.raises(HaltIssuance, match="not made in this token by our ceremony"):
        opened.threads.keeper.find("loose")


def test_a_second_initialisation_of_the_module_is_refused(opened: Opened) -> None:
    # Somebody else in the process, perhaps without locks, was there first.
    with pytest.raises(HaltIssuance, match="initialised by somebody else"):
        Cryptoki(opened.module)


def test_a_module_that_was_initialised_without_locks_is_refused(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import pkcs11
        from pathlib import Path
        from core.errors import HaltIssuance
        from signer.vault.tokens.cryptoki import Cryptoki
        from signer.vault.tokens.modules import softhsm
        here = Path({str(tmp_path)!r})
        module = softhsm(Path({str(MODULE)!r}), here / "tokens", here / "conf")
        import os; os.environ.update(module.environment)
        pkcs11.lib(str(module.path))
        try:
            Cryptoki(module)
        except HaltIssuance:
            raise SystemExit(7)
        """
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_our_initialisation_asked_for_the_operating_systems_locks(opened: Opened) -> None:
    assert opened.module.habits.flags == 0x02
    result = ctypes.CDLL(str(MODULE)).C_Initialize(None)
    assert result == 0x191  # CKR_CRYPTOKI_ALREADY_INITIALIZED: ours is in force


def test_a_wrong_pin_is_told_with_its_remedy(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from core.errors import ConfigurationError
        from signer.vault.tokens.cryptoki import Cryptoki
        from signer.vault.tokens.modules import softhsm
        here = Path({str(tmp_path)!r})
        cryptoki = Cryptoki(softhsm(Path({str(MODULE)!r}), here / "tokens", here / "conf"))
        serial = cryptoki.make_token("test", "so pin of the test", "right")
        try:
            cryptoki.open(serial, "wrong")
        except ConfigurationError as error:
            assert "vault.pin_file" in str(error) and "wrong" not in str(error).replace("wrong ones", "")
            raise SystemExit(7)
        """
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_a_missing_module_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="apt install softhsm2"):
        Cryptoki(Module(tmp_path / "none.so"))


def test_an_unknown_token_is_told_with_its_remedy(opened: Opened) -> None:
    with pytest.raises(ConfigurationError, match="does not show the token"):
        opened.cryptoki.join("0000000000000000")


def test_a_session_finds_the_same_key_as_another(opened: Opened) -> None:
    session = Session(opened.cryptoki.join(opened.serial))
    assert session.find(KeyAlgorithm.RSA_2048) == opened.keys[KeyAlgorithm.RSA_2048]
    session.close()
