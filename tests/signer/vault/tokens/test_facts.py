"""What a token says of itself is recorded once and compared for ever."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from core.errors import HaltIssuance
from core.settings import Settings
from signer.vault.tokens import facts as token_facts
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.facts import TokenFacts
from signer.vault.tokens.modules import softhsm

FACTS = TokenFacts("Maker", "Model X", "0123", "7.8", "/usr/lib/module.so", "00" * 32, "FIPS 140-3 #9999")


def test_the_facts_of_a_token_name_its_maker_its_serial_and_the_octets_of_its_module(tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    shutil.copy(Settings().vault.module, module)
    cryptoki = Cryptoki(softhsm(module, tmp_path / "tokens", tmp_path / "conf"))
    try:
        serial = cryptoki.make_token("test", "so pin of the test", "1234")
        facts = cryptoki.facts(serial, "none")
    finally:
        cryptoki.close()
    assert (facts.manufacturer, facts.model, facts.serial) == ("SoftHSM project", "SoftHSM v2", serial)
    assert facts.module_sha256 == hashlib.sha256(module.read_bytes()).hexdigest()
    assert facts.certificate == "none"
    assert msgspec.json.decode(msgspec.json.encode(facts), type=TokenFacts) == facts


@pytest.mark.clause("BR 6.2.7")
@pytest.mark.parametrize("name", ["manufacturer", "model", "serial", "firmware", "module_sha256"])
def test_a_token_of_which_one_fact_changed_is_refused(name: str) -> None:
    with pytest.raises(HaltIssuance, match=f"{name} was .* and is 'other'"):
        token_facts.must_be_as_recorded(FACTS, replace(FACTS, **{name: "other"}))


def test_the_same_module_may_lie_elsewhere_and_tells_no_certificate() -> None:
    token_facts.must_be_as_recorded(FACTS, replace(FACTS, module="/opt/module.so", certificate=""))
