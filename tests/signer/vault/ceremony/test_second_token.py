"""wrapped-backup: keys of wrapped custody in a second token, and the CA going on from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.errors import ConfigurationError, Refused
from core.settings import Settings
from signer.vault.ceremony.tokens import Tokens
from signer.vault.sealed import copies, hierarchy, inventory
from signer.vault.sealed.seal import TokenRole
from signer.vault.tokens.custody import Custody
from tests.signer.vault.ceremony.test_copies import REVOKED, Ca, destroy, restore
from tests.support import ceremonies

WRAPPED = ceremonies.FIRST.replace('algorithm = "ec-p256"', 'algorithm = "ec-p256"\ncustody = "wrapped"')


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    """Not to be changed."""
    data = DataDirectory(tmp_path_factory.mktemp("wrapped") / "data")
    data.root.mkdir()
    people = ceremonies.people()
    ceremonies.hold(data, ceremonies.script(people, WRAPPED), people[:2])
    return Ca(data, people)


@pytest.fixture
def ca(first: Ca, tmp_path: Path) -> Ca:
    shutil.copytree(first.data.root, tmp_path / "data")
    return Ca(DataDirectory(tmp_path / "data"), first.people)


def second_token(place: Path, id: str = "second") -> str:
    return f'[[steps]]\nkind = "wrapped-backup"\nid = "{id}"\ntoken = "issuing"\nto = "{place}"\n'


@pytest.mark.clause("CPS 6.2.6")
def test_the_keys_are_the_same_in_the_second_token_and_say_that_they_were_not_born_there(
    ca: Ca, tmp_path: Path
) -> None:
    sealed = ca.hold(second_token(tmp_path / "medium"))
    (copy,) = sealed.copies
    assert copy.second is not None
    assert copy.second.serial != sealed.issuing_token
    assert [(key.label, key.local) for key in copy.keys] == [("ec-1", False), ("local-1", False)]
    tokens = Tokens(Settings(), ca.data, ca.data.vault / "test.conf", {}, tuple(ca.people[1:]))
    session = tokens.elsewhere(copy.second, tmp_path / "medium" / copies.TOKEN)
    assert session.labels() == {"ec-1", "local-1"}, "and no key that unwraps"
    key = session.find("ec-1", Custody.WRAPPED)
    issuer = hierarchy.authority(Settings(), "ec-1", sealed.issuers[0].certificate)
    assert key.public_key == issuer.public_key
    assert not key.local
    tokens.close()


@pytest.mark.clause("CPS 6.2.4")
def test_the_ca_goes_on_from_the_second_token_when_the_first_is_lost(ca: Ca, tmp_path: Path) -> None:
    before = ca.hold(second_token(tmp_path / "medium"))
    shutil.rmtree(ca.data.tokens / "issuing")
    sealed = ca.hold(restore("second"))
    assert sealed.issuing_token == before.copies[0].serial
    assert sealed.token(TokenRole.ISSUING).activation != before.token(TokenRole.ISSUING).activation
    # Other two of the three open it, by the shares of the second token; and later ceremonies find them.
    tokens, session = ca.open(present=ca.people[1:])
    session.find("ec-1", Custody.WRAPPED)
    tokens.close()
    assert ca.hold('[[steps]]\nkind = "root-crl"\n').sequence == 4


@pytest.mark.clause("BR 6.2.2")
def test_one_person_does_not_open_the_second_token(ca: Ca, tmp_path: Path) -> None:
    ca.hold(second_token(tmp_path / "medium"))
    shutil.rmtree(ca.data.tokens / "issuing")
    ca.hold(restore("second"))
    with pytest.raises(Refused, match="2 are needed"):
        ca.open(present=ca.people[:1])


def test_a_key_that_travelled_is_destroyed_in_both_tokens(ca: Ca, tmp_path: Path) -> None:
    ca.hold(second_token(tmp_path / "medium"))
    sealed = ca.hold(REVOKED + destroy())
    places = {entry.issuer: len(entry.places) for entry in inventory.entries(sealed)}
    assert places == {"root": 1, "ec-1": 0, "local-1": 2}
    copies.check(tmp_path / "medium", sealed.copies[0])


@pytest.mark.clause("CPS 6.2.4")
def test_a_sealed_key_never_travels(tmp_path: Path) -> None:
    data, people = DataDirectory(tmp_path / "data"), ceremonies.people()
    data.root.mkdir()
    ceremonies.hold(data, ceremonies.script(people), people[:2])
    with pytest.raises(Refused, match="never leave"):
        Ca(data, people).hold(second_token(tmp_path / "medium"))
    assert not (tmp_path / "medium").exists()


def test_a_second_token_is_made_in_an_empty_place_only(ca: Ca, tmp_path: Path) -> None:
    (tmp_path / "medium").mkdir()
    (tmp_path / "medium" / "letter").write_text("dear")
    with pytest.raises(ConfigurationError, match="not empty"):
        ca.hold(second_token(tmp_path / "medium"))
    assert ca.sealed().copies == ()
