"""Shares of a PIN: what k people can do and k - 1 cannot."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from Crypto.Protocol.SecretSharing import Shamir
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigurationError, Refused
from core.people import Identity
from core.randomness import SystemRandomness
from signer.vault.people import shares
from signer.vault.people.shares import Share, Splitting, combine, must_be_share, pin_of, split, wipe

TOKEN = "0123456789abcdef"
SECRET = bytes(range(16))
PEOPLE = [Identity.make(f"Person {n}", "operator", SystemRandomness()) for n in range(5)]
HOLDERS = [each.person for each in PEOPLE]

VECTORS_OF_SSSS = {
    "d9fe73909bae28b3757854c0af7ad405": (
        "594ae8964294174d95c33756d2504170",
        "d897459d29da574eb40e93ec552ffe6e",
        "5823de9bf0e068b054b5f07a28056b1b",
        "db2c1f8bff46d748f795da995bd080cb",
    ),
    "ec96aa5c14c9faa699354cf1da74e904": (
        "64579fbf1908d66f7239bf6e2b4e41e1",
        "6cd9428df8017b52322561e8c672ae3e",
        "e418776ef5c0579bd9299277374806dd",
        "ab3f77a0107398d23b323e581bb43f5d",
        "23fe42431db2b41bd03ecdc7ea8e97ac",
    ),
}


def splitting(threshold: int = 3, secret: bytes = SECRET) -> Splitting:
    return split(secret, threshold, HOLDERS, TOKEN)


def opened(made: Splitting, *numbers: int) -> dict[int, bytes]:
    return {made.shares[n].index: made.shares[n].open(PEOPLE[n]) for n in numbers}


@pytest.mark.clause("BR 6.2.2")
def test_any_k_shares_give_the_secret() -> None:
    made = splitting()
    for numbers in combinations(range(5), 3):
        assert combine(opened(made, *numbers), 3, made.check, TOKEN) == SECRET
    assert combine(opened(made, 0, 1, 2, 3, 4), 3, made.check, TOKEN) == SECRET


@given(st.binary(min_size=16, max_size=16), st.integers(2, 5))
def test_every_secret_comes_back(secret: bytes, threshold: int) -> None:
    made = splitting(threshold, secret)
    assert combine(opened(made, *range(threshold)), threshold, made.check, TOKEN) == secret


@pytest.mark.clause("CPS 6.2.2")
def test_fewer_than_k_are_refused() -> None:
    made = splitting()
    for numbers in ((), (0,), (0, 4)):
        with pytest.raises(Refused, match=r"share\.few"):
            combine(opened(made, *numbers), 3, made.check, TOKEN)


def test_k_minus_one_shares_fit_every_secret_alike() -> None:
    # With one share missing, each value of it completes the others to another secret: they exclude nothing.
    made = splitting(2)
    held = list(opened(made, 0).items())
    completed = {Shamir.combine([*held, (2, bytes([octet]) * 16)]) for octet in range(256)}
    assert len(completed) == 256


def test_the_octets_of_a_share_are_spread_evenly_whatever_the_secret() -> None:
    seen: Counter[int] = Counter()
    for _ in range(400):
        for _, part in Shamir.split(2, 2, bytes(16)):
            seen.update(part)
    expected = sum(seen.values()) / 256
    statistic = sum((seen[octet] - expected) ** 2 / expected for octet in range(256))
    assert statistic < 400  # 255 degrees of freedom: beyond this once in 10^8 runs


def test_the_library_combines_what_another_program_split() -> None:
    # Made with B. Poettering's `ssss` (2 of 4 and 3 of 5); that program adds x^k to the polynomial.
    for secret, parts in VECTORS_OF_SSSS.items():
        threshold = 2 if len(parts) == 4 else 3
        numbered = [(index, bytes.fromhex(part)) for index, part in enumerate(parts, 1)]
        for some in combinations(numbered, threshold):
            assert Shamir.combine(list(some), ssss=True).hex() == secret


def test_the_field_is_the_one_of_gcm() -> None:
    # By hand, modulo x^128 + x^7 + x^2 + x + 1.
    line = [(1, bytes(15) + b"\x03"), (2, bytes(15) + b"\x05")]  # p(x) = 2x + 1
    assert Shamir.combine(line) == bytes(15) + b"\x01"
    reduced = [(1, b"\x80" + bytes(15)), (2, bytes(15) + b"\x87")]  # p(x) = 2^127 x
    assert Shamir.combine(reduced) == bytes(16)


@pytest.mark.clause("CPS 6.4.2")
def test_a_wrong_share_is_noticed_by_itself_and_before_it_is_combined() -> None:
    made = splitting()
    parts = opened(made, 0, 1, 2)
    must_be_share(parts[1], 1, made.check, TOKEN)
    for wrong in (bytes(16), parts[2], parts[1][:-1] + bytes([parts[1][-1] ^ 1])):
        with pytest.raises(Refused, match=r"share\.wrong"):
            must_be_share(wrong, 1, made.check, TOKEN)
        with pytest.raises(Refused, match=r"share\.wrong"):
            combine({**parts, 1: wrong}, 3, made.check, TOKEN)


def test_a_share_of_another_token_or_ceremony_is_noticed() -> None:
    made, other = splitting(), splitting()
    part = other.shares[0].open(PEOPLE[0])
    with pytest.raises(Refused, match=r"share\.wrong"):
        must_be_share(part, 1, made.check, TOKEN)
    with pytest.raises(Refused, match=r"share\.wrong"):
        must_be_share(part, 1, other.check, "another token")
    for index in (0, 6, -1):
        with pytest.raises(Refused, match=r"share\.wrong"):
            must_be_share(part, index, other.check, TOKEN)


def test_a_share_opens_for_its_holder_and_as_what_it_is_only() -> None:
    share = splitting().shares[0]
    with pytest.raises(Refused, match=r"person\.sealed"):
        share.open(PEOPLE[1])
    for changed in (
        Share(TOKEN, 3, 2, share.holder_id, share.sealed),
        Share("another", 3, 1, share.holder_id, share.sealed),
    ):
        with pytest.raises(Refused, match=r"person\.sealed"):
            changed.open(PEOPLE[0])


@pytest.mark.clause("BR 6.4.1")
def test_a_share_file_alone_holds_nothing_of_the_share(tmp_path: Path) -> None:
    share = splitting().shares[0]
    path = tmp_path / "share.json"
    share.save(path)
    assert Share.load(path) == share
    part = share.open(PEOPLE[0])
    assert part not in path.read_bytes()
    assert part not in share.sealed
    (tmp_path / "other").write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match="is no share"):
        Share.load(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Share.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("threshold", "holders", "reason"),
    [
        (1, HOLDERS, "cannot share"),
        (6, HOLDERS, "cannot share"),
        (2, HOLDERS * 7, "cannot share"),
        (2, [HOLDERS[0], HOLDERS[1], HOLDERS[0]], "one person, one share"),
    ],
)
def test_a_splitting_that_keeps_no_promise_is_refused(
    threshold: int, holders: list[shares.Person], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        split(SECRET, threshold, holders, TOKEN)


def test_no_repr_and_no_check_shows_the_secret_or_a_share() -> None:
    made = splitting()
    parts = opened(made, 0, 1, 2)
    for secret in (SECRET, *parts.values()):
        assert secret not in made.check
        for shown in (repr(made), repr(made.shares[0])):
            assert secret.hex() not in shown
            assert repr(secret)[2:-1] not in shown


def test_a_pin_is_hexadecimal_and_can_be_wiped() -> None:
    pin = pin_of(SECRET)
    assert pin == SECRET.hex().encode()
    wipe(pin)
    assert pin == bytes(32)
