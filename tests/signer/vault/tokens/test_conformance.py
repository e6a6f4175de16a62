"""What every PKCS#11 module must do for us, run on each that we know (docs/tokens.md)."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType

from core.errors import ConfigurationError, HaltIssuance
from signer.vault.tokens import algorithms, custody, keys
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.faults import TokenTrouble
from signer.vault.tokens.keys import Key, KeyAlgorithm
from signer.vault.tokens.message import Message
from signer.vault.tokens.modules import Hashing, Module
from signer.vault.tokens.session import Session
from signer.vault.tokens.token import TokenThreads
from tests.signer.vault.tokens.modules import KINDS, RSA, Kind, found

PROOF = b"to be signed"


@dataclass
class Made:
    """A token with one key of each algorithm that it knows."""

    kind: Kind
    module: Module
    cryptoki: Cryptoki
    serial: str
    threads: TokenThreads
    keys: dict[KeyAlgorithm, Key]

    def reopen(self) -> None:
        self.cryptoki = Cryptoki(self.module)
        self.threads = TokenThreads(self.cryptoki, self.serial, self.kind.pin, 2)


@pytest.fixture(scope="module", params=KINDS, ids=[kind.kind for kind in KINDS])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    kind: Kind = request.param
    module = found(kind, tmp_path_factory.mktemp("module"))
    cryptoki = Cryptoki(module)
    serial = cryptoki.make_token("conformance", kind.so_pin, kind.pin)
    threads = TokenThreads(cryptoki, serial, kind.pin, 2)
    made = {algorithm: threads.keeper.generate(algorithm, algorithm) for algorithm in kind.algorithms}
    everything = Made(kind, module, cryptoki, serial, threads, made)
    yield everything
    everything.threads.close()


def test_the_initialisation_in_force_is_ours_with_locks(made: Made) -> None:
    with pytest.raises(HaltIssuance, match="initialised by somebody else"):
        Cryptoki(made.module)


def test_a_key_of_every_algorithm_is_made_and_found_again_by_another_session(made: Made) -> None:
    session = Session(made.cryptoki.join(made.serial), made.cryptoki)
    for algorithm, key in made.keys.items():
        assert key.algorithm is algorithm
        assert session.find(algorithm) == key
    session.close()


@pytest.mark.clause("BR 6.2.7")
def test_what_the_token_says_of_a_sealed_key_is_what_was_asked_for(made: Made) -> None:
    session = made.cryptoki.join(made.serial)
    for algorithm in made.keys:
        private = keys.private_key(session, algorithm)
        custody.must_be(algorithm, private, Custody.SEALED, tells_local=made.module.habits.tells_local)
    session.close()


@pytest.mark.clause("BR 6.2.7")
def test_no_private_value_can_be_read(made: Made) -> None:
    session = made.cryptoki.join(made.serial)
    for algorithm in made.keys:
        secret = Attribute.PRIVATE_EXPONENT if algorithm in RSA else Attribute.VALUE
        with pytest.raises(pkcs11.PKCS11Error):
            keys.private_key(session, algorithm)[secret]
    session.close()


@pytest.mark.clause("BR 6.1.1")
def test_a_key_that_could_be_taken_out_is_refused(made: Made) -> None:
    loose = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: True, Attribute.PRIVATE: True}
    made.threads.keeper._session.generate_keypair(
        KeyType.RSA, 2048, label="loose", store=True, private_template=loose
    )
    with pytest.raises(HaltIssuance, match="do not use it"):
        made.threads.keeper.find("loose")


async def test_two_threads_sign_at_once_and_every_signature_verifies(made: Made) -> None:
    pairs = [(key, b"%d" % number) for number in range(12) for key in made.keys.values()]
    signatures = await asyncio.gather(*(made.threads.sign(key, data) for key, data in pairs))
    for (key, data), signature in zip(pairs, signatures, strict=True):
        algorithms.verify(key.public_key, signature, data)


def test_the_token_may_hash_itself_where_it_can(made: Made) -> None:
    session = made.cryptoki.join(made.serial)
    offered = session.token.slot.get_mechanisms()
    for algorithm, key in made.keys.items():
        try:
            mechanism = keys.mechanism(algorithm, offered, (Hashing.TOKENS,))
        except HaltIssuance:
            continue  # SoftHSM2 hashes for no curve, openCryptoki's soft token for nothing.
        for data in (PROOF, Message(PROOF[:4], PROOF[4:])):
            signature = keys.sign(keys.private_key(session, algorithm), algorithm, data, mechanism)
            algorithms.verify(key.public_key, signature, PROOF)
    session.close()


def test_an_algorithm_without_a_mechanism_is_told(made: Made) -> None:
    with pytest.raises(HaltIssuance, match="no mechanism to sign with a key of ec-p256"):
        keys.mechanism(KeyAlgorithm.EC_P256, set(), tuple(Hashing))


async def test_a_lost_session_is_opened_again_and_the_signature_is_made(made: Made) -> None:
    for session in made.threads._sessions:  # nobody signs now
        session._session.close()
    for key in made.keys.values():
        algorithms.verify(key.public_key, await made.threads.sign(key, PROOF), PROOF)


async def test_the_module_can_be_finalised_and_opened_again(made: Made) -> None:
    made.threads.close()
    made.reopen()
    for algorithm, key in made.keys.items():
        assert made.threads.keeper.find(algorithm) == key
        algorithms.verify(key.public_key, await made.threads.sign(key, PROOF), PROOF)


async def test_one_logout_logs_every_session_out(made: Made) -> None:
    key = next(iter(made.keys.values()))
    session = Session(made.cryptoki.join(made.serial), made.cryptoki)
    session.sign(key, PROOF)
    made.threads.keeper._session.close()  # python-pkcs11 logs out with the session that logged in
    assert not made.cryptoki.is_logged_in(session._session)
    with pytest.raises(TokenTrouble, match="every session is logged out"):
        await made.threads.sign(key, PROOF)
    made.threads.close()
    made.reopen()
    await made.threads.sign(key, PROOF)


def test_a_child_of_the_process_may_not_use_the_module(made: Made) -> None:
    cryptoki = replace_process(made.cryptoki)
    with pytest.raises(HaltIssuance, match="forked child"):
        cryptoki.join(made.serial)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.kind for kind in KINDS])
def test_a_wrong_pin_is_told_with_its_remedy_and_a_locked_one_too(kind: Kind, tmp_path: Path) -> None:
    module = found(kind, tmp_path)
    if kind.one_token_a_machine:
        pytest.skip("its token is in use: test_a_pin_locks below")
    # Another process: in this one the module is open already.
    program = (
        "import sys, pickle\n"
        "from signer.vault.tokens.cryptoki import Cryptoki\n"
        "from core.errors import ConfigurationError\n"
        "module, so_pin, pin = pickle.loads(sys.stdin.buffer.read())\n"
        "cryptoki = Cryptoki(module)\n"
        "serial = cryptoki.make_token('wrong', so_pin, pin)\n"
        "try: cryptoki.open(serial, 'wrong' + pin[5:])\n"
        "except ConfigurationError as error: print(error)\n"
        "cryptoki.open(serial, pin)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((module, kind.so_pin, kind.pin)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"see vault.pin_file" in done.stdout
    assert kind.pin.encode() not in done.stdout + done.stderr


def test_a_pin_locks_where_the_token_counts(made: Made) -> None:
    if not made.kind.locks_at:
        pytest.skip("this software token never locks its PIN")
    made.threads.close()
    cryptoki = Cryptoki(made.module)
    for _ in range(made.kind.locks_at):
        with pytest.raises(ConfigurationError, match=r"vault\.pin_file|locked"):
            cryptoki.open(made.serial, "wrong123")
    with pytest.raises(ConfigurationError, match="locked after too many wrong ones"):
        cryptoki.open(made.serial, made.kind.pin)
    made.cryptoki = cryptoki


def replace_process(cryptoki: Cryptoki) -> Cryptoki:
    """The same module as a forked child would see it: its process is another."""
    child = object.__new__(Cryptoki)
    child.__dict__.update(cryptoki.__dict__ | {"_process": cryptoki._process + 1})
    return child
