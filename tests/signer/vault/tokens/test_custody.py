"""The two custody classes in a real SoftHSM2 token: what is asked for is read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute

from core.errors import HaltIssuance
from core.settings import Settings
from signer.vault.tokens import custody, keys
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.keys import KeyAlgorithm
from signer.vault.tokens.modules import softhsm
from signer.vault.tokens.session import Session

PIN = "correct horse"


@pytest.fixture(scope="module")
def cryptoki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cryptoki]:
    directory = tmp_path_factory.mktemp("token")
    opened = Cryptoki(softhsm(Path(Settings().vault.module), directory / "tokens", directory / "conf"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def session(cryptoki: Cryptoki) -> Iterator[pkcs11.Session]:
    opened = cryptoki.open(cryptoki.make_token("test", "so pin of the test", PIN), PIN, read_write=True)
    Session(opened).generate("sealed", KeyAlgorithm.EC_P256, Custody.SEALED)
    Session(opened).generate("wrapped", KeyAlgorithm.EC_P256, Custody.WRAPPED)
    yield opened
    opened.close()


@pytest.mark.clause("BR 6.2.7")
def test_a_sealed_key_was_born_here_and_was_never_extractable(session: pkcs11.Session) -> None:
    private = keys.private_key(session, "sealed")
    assert {name: private[name] for name in (Attribute.SENSITIVE, Attribute.EXTRACTABLE)} == {
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
    }
    assert private[Attribute.NEVER_EXTRACTABLE] is private[Attribute.LOCAL] is True
    assert keys.find(session, "sealed", Custody.SEALED).local


@pytest.mark.clause("BR 6.2.6")
def test_a_wrapped_key_is_extractable_under_a_trusted_key_only(session: pkcs11.Session) -> None:
    private = keys.private_key(session, "wrapped")
    assert private[Attribute.SENSITIVE] is private[Attribute.EXTRACTABLE] is True
    assert private[Attribute.WRAP_WITH_TRUSTED] is True
    assert keys.find(session, "wrapped", Custody.WRAPPED).local


@pytest.mark.parametrize(("label", "other"), [("sealed", Custody.WRAPPED), ("wrapped", Custody.SEALED)])
def test_a_key_is_of_one_class_only(session: pkcs11.Session, label: str, other: Custody) -> None:
    with pytest.raises(HaltIssuance, match=f"EXTRACTABLE = .* as {other} custody wants"):
        keys.find(session, label, other)


def test_a_token_that_does_not_tell_an_attribute_holds_no_key_of_ours() -> None:
    class Silent:
        def __getitem__(self, attribute: Attribute) -> object:
            raise pkcs11.AttributeTypeInvalid

    with pytest.raises(HaltIssuance, match="use another token, or another custody"):
        custody.must_be("key", Silent(), Custody.WRAPPED)
