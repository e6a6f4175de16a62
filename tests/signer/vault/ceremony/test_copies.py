"""backup, restore and destroy, on real tokens, by people: two of three open what they made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.errors import ConfigurationError, HaltIssuance, Refused
from core.people import Identity
from core.settings import Settings
from signer.api import IssuerState
from signer.vault.ceremony.tokens import Tokens, share_directory
from signer.vault.sealed import copies, hierarchy, inventory
from signer.vault.sealed.seal import Hierarchy, TokenRole
from signer.vault.tokens.session import Session
from tests.support import ceremonies

SEAL = '[[steps]]\nkind = "seal"\n'
REVOKED = """
[[steps]]
kind = "revoke-issuer"
issuer = "ec-1"
reason = "keyCompromise"
[[steps]]
kind = "root-crl"
"""


@dataclass
class Ca:
    """A data directory of a ceremony, and its three people."""

    data: DataDirectory
    people: list[Identity]

    def hold(self, steps: str, *, present: int = 2) -> Hierarchy:
        """One more ceremony."""
        script = ceremonies.script(self.people, steps + SEAL)
        return ceremonies.hold(self.data, script, self.people[:present]).hierarchy

    def sealed(self) -> Hierarchy:
        return hierarchy.load(self.data, Settings())

    def open(
        self, place: Path | None = None, present: Sequence[Identity] | None = None
    ) -> tuple[Tokens, Session]:
        """The issuing token, or its copy in `place`."""
        those = tuple(self.people[:2] if present is None else present)
        tokens = Tokens(Settings(), self.data, self.data.vault / "test.conf", {}, those)
        token = self.sealed().token(TokenRole.ISSUING)
        return tokens, tokens.session(token) if place is None else tokens.elsewhere(token, place)

    def labels(self, place: Path | None = None) -> frozenset[str]:
        tokens, session = self.open(place)
        try:
            return session.labels()
        finally:
            tokens.close()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    """Not to be changed."""
    data = DataDirectory(tmp_path_factory.mktemp("first") / "data")
    data.root.mkdir()
    people = ceremonies.people()
    ceremonies.hold(data, ceremonies.script(people), people[:2])
    return Ca(data, people)


@pytest.fixture
def ca(first: Ca, tmp_path: Path) -> Ca:
    shutil.copytree(first.data.root, tmp_path / "data")
    return Ca(DataDirectory(tmp_path / "data"), first.people)


def backup(place: Path, id: str = "safe-1") -> str:
    return f'[[steps]]\nkind = "backup"\nid = "{id}"\ntoken = "issuing"\nto = "{place}"\n'


def restore(id: str = "safe-1", at: str = "") -> str:
    return f'[[steps]]\nkind = "restore"\ncopy = "{id}"\nat = "{at}"\n'


def destroy(**places: str) -> str:
    moved = ", ".join(f'"{id}" = "{place}"' for id, place in places.items())
    return f'[[steps]]\nkind = "destroy"\nissuer = "ec-1"\nplaces = {{{moved}}}\n'


def octets(*places: Path) -> dict[str, bytes]:
    """Every file that tells what is, without what merely tells of a token's being opened."""
    return {
        str(path): path.read_bytes()
        for place in places
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.suffix not in {".lock", ".conf"} and "ceremonies" not in path.parts
    }


@pytest.mark.clause("CPS 6.2.4")
def test_a_backup_opens_with_the_same_people_and_holds_the_same_keys(ca: Ca, tmp_path: Path) -> None:
    sealed = ca.hold(backup(tmp_path / "medium"))
    (copy,) = sealed.copies
    assert sealed.sequence == 2
    assert [key.label for key in copy.keys] == ["ec-1", "local-1"]
    assert all(key.local for key in copy.keys), "a directory's copy is the very key, not a wrapped one"
    copies.check(tmp_path / "medium", copy)
    assert ca.labels(tmp_path / "medium" / copies.TOKEN) == {"ec-1", "local-1"}


@pytest.mark.clause("BR 6.2.2")
def test_one_person_alone_opens_no_copy(ca: Ca, tmp_path: Path) -> None:
    ca.hold(backup(tmp_path / "medium"))
    with pytest.raises(Refused, match="2 are needed"):
        ca.open(tmp_path / "medium" / copies.TOKEN, ca.people[:1])
    with pytest.raises(Refused, match="more of"):
        ca.hold(backup(tmp_path / "medium-2", "safe-2"), present=1)
    assert not (tmp_path / "medium-2").exists()


def test_a_copy_never_takes_the_place_of_something_else(ca: Ca, tmp_path: Path) -> None:
    (tmp_path / "medium").mkdir()
    (tmp_path / "medium" / "letter").write_text("dear")
    with pytest.raises(ConfigurationError, match="not empty"):
        ca.hold(backup(tmp_path / "medium"))
    assert [path.name for path in (tmp_path / "medium").iterdir()] == ["letter"]
    assert ca.sealed().copies == ()


@pytest.mark.clause("CPS 6.2.6")
def test_a_lost_token_is_restored_with_the_same_public_keys(ca: Ca, tmp_path: Path) -> None:
    ca.hold(backup(tmp_path / "medium"))
    (tmp_path / "medium").rename(tmp_path / "moved")
    shutil.rmtree(ca.data.tokens / "issuing")
    sealed = ca.hold(restore(at=str(tmp_path / "moved")))
    assert sealed.sequence == 3
    tokens, session = ca.open()
    key = session.find("ec-1")
    issuer = hierarchy.authority(Settings(), "ec-1", sealed.issuers[0].certificate)
    assert key.public_key == issuer.public_key
    tokens.close()


def test_a_restore_touches_no_token_that_is_there(ca: Ca, tmp_path: Path) -> None:
    ca.hold(backup(tmp_path / "medium"))
    before = octets(ca.data.tokens)
    with pytest.raises(ConfigurationError, match="not empty"):
        ca.hold(restore())
    assert octets(ca.data.tokens).keys() == before.keys()


def test_an_altered_copy_is_not_restored(ca: Ca, tmp_path: Path) -> None:
    ca.hold(backup(tmp_path / "medium"))
    shutil.rmtree(ca.data.tokens / "issuing")
    victim = next(path for path in (tmp_path / "medium" / copies.TOKEN).rglob("*.object"))
    victim.write_bytes(victim.read_bytes() + b"\0")
    with pytest.raises(Refused, match=victim.name):
        ca.hold(restore())
    assert not (ca.data.tokens / "issuing").exists()


def test_a_copy_that_is_older_than_a_key_is_not_enough(ca: Ca, tmp_path: Path) -> None:
    ca.hold(backup(tmp_path / "medium"))
    ca.hold(
        '[[steps]]\nkind = "generate-key"\ntoken = "issuing"\nlabel = "ec-2"\nalgorithm = "ec-p256"\n'
        '[[steps]]\nkind = "issuing-certificate"\nid = "ec-2"\ncommon_name = "EC Issuing CA 2"\n'
        '[[steps]]\nkind = "root-crl"\n'
    )
    shutil.rmtree(ca.data.tokens / "issuing")
    with pytest.raises(Refused, match="older than ec-2"):
        ca.hold(restore())


@pytest.mark.clause("CPS 6.2.10")
def test_a_destroyed_key_is_in_no_place_any_more(ca: Ca, tmp_path: Path) -> None:
    ca.hold(backup(tmp_path / "one", "safe-1") + backup(tmp_path / "two", "safe-2"))
    (tmp_path / "two").rename(tmp_path / "moved")
    places = {entry.issuer: entry.places for entry in inventory.entries(ca.sealed())}
    assert len(places["ec-1"]) == 3
    sealed = ca.hold(REVOKED + destroy(**{"safe-2": str(tmp_path / "moved")}))
    assert sealed.issuers[0].state is IssuerState.DESTROYED
    places = {entry.issuer: entry.places for entry in inventory.entries(sealed)}
    assert places["ec-1"] == ()
    assert len(places["local-1"]) == 3
    for copy, place in zip(sealed.copies, (tmp_path / "one", tmp_path / "moved"), strict=True):
        copies.check(place, copy)
    for place in (None, tmp_path / "one" / copies.TOKEN, tmp_path / "moved" / copies.TOKEN):
        assert ca.labels(place) == {"local-1"}
    tokens, session = ca.open()
    with pytest.raises(HaltIssuance, match="0 private keys"):
        session.find("ec-1")
    tokens.close()


def test_no_key_is_destroyed_while_a_copy_of_it_is_out_of_reach(ca: Ca, tmp_path: Path) -> None:
    ca.hold(backup(tmp_path / "one", "safe-1") + backup(tmp_path / "two", "safe-2"))
    (tmp_path / "two").rename(tmp_path / "moved")
    before = octets(tmp_path / "one")
    with pytest.raises(Refused, match="bring its medium"):
        ca.hold(REVOKED + destroy())
    assert octets(tmp_path / "one") == before
    assert ca.labels() == {"ec-1", "local-1"}


@pytest.mark.clause("BR 4.9.7")
def test_a_key_whose_crls_must_go_on_is_not_destroyed(ca: Ca) -> None:
    with pytest.raises(Refused, match="must go on"):
        ca.hold('[[steps]]\nkind = "retire-issuer"\nissuer = "ec-1"\n' + destroy())
    assert ca.labels() == {"ec-1", "local-1"}
    assert ca.sealed().issuers[0].state is IssuerState.ACTIVE


def test_shares_of_the_token_stay_where_their_holders_put_them(ca: Ca, tmp_path: Path) -> None:
    before = octets(share_directory(ca.data, "issuing"))
    ca.hold(backup(tmp_path / "medium"))
    assert octets(share_directory(ca.data, "issuing")) == before
    assert not any("share" in path.name for path in (tmp_path / "medium").rglob("*"))
