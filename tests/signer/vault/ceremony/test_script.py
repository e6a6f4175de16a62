"""A script says what it means or is refused, by the key and with the nearest known one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.errors import ConfigurationError
from core.people import Identity
from signer.vault.ceremony import embedded
from signer.vault.ceremony.script import Script
from tests.support.ceremonies import FIRST, people, script


@pytest.fixture(scope="module")
def identities() -> list[Identity]:
    return people()


def root_token(line: str) -> str:
    """FIRST with one more line about the root token."""
    return FIRST.replace('role = "root"', f'role = "root"\n{line}')


def changed(identities: list[Identity], old: str, new: str) -> Script:
    assert old in FIRST
    return script(identities, FIRST.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "make-token"', 'kind = "make-tokken"', "the nearest is 'make-token'"),
        (
            'algorithm = "ec-p256"',
            'algoritm = "ec-p256"',
            "has no key 'algoritm'; the nearest is 'algorithm'",
        ),
        (
            'algorithm = "ec-p256"',
            'algorithm = "ec-p521"',
            "step 3 .*algorithm: invalid enum value 'ec-p521'; it is one of 'rsa-2048'",
        ),
        ('label = "ec-1"\n', "", "step 3 .*needs a key 'label'"),
        ("[[tokens]]", "[[tokkens]]", "the nearest is 'tokens'"),
    ],
)
def test_a_slip_is_an_error_that_names_the_nearest_key(
    identities: list[Identity], old: str, new: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        changed(identities, old, new)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'kind = "make-token"\ntoken = "issuing"',
            'kind = "make-token"\ntoken = "other"',
            r"no \[\[tokens\]\]",
        ),
        ('label = "ec-1"', 'label = "root"', 'the key "root" lies in the root token'),
        ('label = "ec-1"', 'label = "ocsp-ec-1"', "kept for the vault"),
        ('id = "ec-1"', 'id = "ec-2"', "there is no key 'ec-2' at this point"),
        ('id = "ec-1"', 'id = "ec/1"', "becomes part of URLs"),
        ('[[steps]]\nkind = "root-crl"\n', "", 'no root CRL was made: add a step kind = "root-crl"'),
        ('[[steps]]\nkind = "pin-perspectives"\n', "", "no perspective is pinned"),
        ('[[steps]]\nkind = "seal"\n', "", "the last step of a script is"),
        ('kind = "root-crl"\n', 'kind = "seal"\n', "no root CRL was made"),
        ('id = "local-1"', 'id = "ec-1"', "there is an issuer 'ec-1' already"),
    ],
)
def test_a_step_that_cannot_be_done_is_refused_before_anything_happens(
    identities: list[Identity], old: str, new: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        changed(identities, old, new).plan(None)


@pytest.mark.clause("BR 6.2.2")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda who: script(who, present=1), "take at least 2"),
        (lambda who: script(who, present=4), "at most all"),
        (lambda who: script([*who, who[0]]), "of = 4, but 3"),
        (lambda who: script(who, root_token("threshold = 3")), "threshold of 3"),
        (lambda who: script(who, root_token("threshold = 1")), "threshold of 1"),
        (
            lambda who: script(
                who, FIRST.replace('role = "root"', 'role = "root"\nholders = ["Alice", "Zoe"]')
            ),
            "no .* is 'Zoe'",
        ),
        (lambda who: script(who, root_token('holders = ["Alice"]')), "2 of 1 holders"),
    ],
)
def test_a_policy_that_one_person_could_fill_is_refused(
    identities: list[Identity], make: Callable[[list[Identity]], Script], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make(identities)


def test_every_step_of_a_script_is_said_in_words(identities: list[Identity]) -> None:
    words = script(identities).words(None)
    assert words[1] == (
        "token 'issuing' is made for the issuing keys; its PIN is split among Alice, Bob, Carol, "
        "any 2 of whom open it"
    )
    assert len(words) == 11


def test_the_built_in_script_can_be_carried_out() -> None:
    assert embedded.script().plan(None).sealed
