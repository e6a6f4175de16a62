"""Each kind of bad key is refused twice: by the registration authority, which says why, and by the vault."""

from __future__ import annotations

import sys
from pathlib import Path

import gmpy2
import pytest
from badkeys.checks import checkrsa

from acme_server.registration import csr
from core import public_keys
from core.blocklist import Blocklist
from core.errors import Problem, Refused
from core.public_keys import WeakKey
from core.settings import Ca, Rules, Settings
from tests.signer.vault.test_service import _world, request
from tests.support.weak_keys import Weak, odd_curve_keys, prime, prime_modulus, rsa, weak_keys

NAME = "www.acme-shop.com"
theirs = sys.modules[checkrsa.__module__.rpartition(".")[0] + ".rsakeys.sharedprimes"]
pytestmark = pytest.mark.clause("BR 6.1.1.3")


def everything() -> dict[str, Weak]:
    return weak_keys() | odd_curve_keys()


NAMES = [*weak_keys(), *odd_curve_keys()]


@pytest.mark.clause("BR 6.1.5, 6.1.6")
@pytest.mark.parametrize("kind", NAMES)
def test_the_registration_authority_refuses_it_and_says_why(kind: str) -> None:
    weak = everything()[kind]
    with pytest.raises(Problem) as refused:
        csr.read(weak.csr(NAME), Blocklist())
    assert refused.value.type == "badCSR"
    assert weak.why in refused.value.detail or "well-formed" in refused.value.detail


@pytest.mark.parametrize("kind", NAMES)
async def test_the_vault_refuses_it_and_its_journal_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    world = _world(tmp_path, Settings(ca=Ca(rules=Rules.PUBLIC)))
    with pytest.raises(Refused, match=r"^profile\.key"):
        await world.service.prepare(request(public_key=everything()[kind].spki))
    assert world.journal.sequence == 0
    assert world.lint.seen == []
    world.journal.close()


@pytest.mark.parametrize("kind", weak_keys())
def test_the_refusal_of_an_rsa_key_names_the_weakness_and_the_remedy(kind: str) -> None:
    weak = weak_keys()[kind]
    with pytest.raises(WeakKey, match=weak.why) as refused:
        public_keys.check(weak.spki)
    assert any(word in str(refused.value) for word in ("ake a new key", "make one of", "use 65537"))


@pytest.mark.clause("BR 6.1.6")
def test_a_prime_modulus_is_seen_by_the_registration_authority() -> None:
    weak = prime_modulus()
    with pytest.raises(Problem, match="prime or a power"):
        csr.read(weak.csr(NAME), Blocklist())


def test_a_key_that_shares_a_prime_with_a_known_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = prime(1024, 70)
    weak = rsa("shares a prime", shared, prime(1024, 71))
    known = gmpy2.mpz(shared) * prime(1024, 72)
    public_keys.check(weak.spki)
    monkeypatch.setitem(theirs._moduli, 2048, known)
    with pytest.raises(WeakKey, match="shares a prime"):
        public_keys.check(weak.spki)


def test_the_known_primes_are_there() -> None:
    """A package without its data would let every shared prime pass."""
    public_keys.warm()
    assert {bits: gmpy2.mpz(theirs._moduli[bits]).bit_length() > 1000 for bits in (2048, 4096)} == {
        2048: True,
        4096: True,
    }


def test_a_sound_key_made_the_same_way_is_accepted() -> None:
    sound = rsa("", prime(1024, 80), prime(1024, 81))
    assert csr.read(sound.csr(NAME), Blocklist()).public_key == sound.spki
