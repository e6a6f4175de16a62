"""Production uses an approved token only, and only the one that the ceremony recorded."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core import checks
from core.errors import ConfigurationError, HaltIssuance
from core.settings import ApprovedToken, Ca, Deployment, ModuleKind, Rules, Settings, Vault
from signer.vault.people import approval
from signer.vault.tokens import modules
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.facts import TokenFacts
from signer.vault.tokens.modules import HABITS

HSM = TokenFacts("Maker", "Model X", "0123", "7.8", "/opt/hsm/module.so", "ab" * 32, "FIPS 140-3 #9999")
APPROVED = ApprovedToken("Maker", "Model X", "7.8", "FIPS 140-3 #9999", "AB" * 32)
DEVICE = HABITS[ModuleKind.GENERIC]


def settings(
    *approved: ApprovedToken, rules: Rules = Rules.PUBLIC, production: bool = True, **vault: object
) -> Settings:
    return Settings(
        ca=Ca(rules=rules),
        deployment=Deployment(production=production),
        vault=Vault(approved_tokens=approved, **vault),  # type: ignore[arg-type]
    )


def test_an_approved_token_is_used() -> None:
    approval.must_be_approved(settings(APPROVED), HSM, DEVICE)


@pytest.mark.clause("BR 6.2.7")
@pytest.mark.parametrize("name", ["manufacturer", "model", "firmware", "certificate", "module_sha256"])
def test_a_token_that_differs_in_one_thing_from_every_approval_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"not approved: write vault\.approved_tokens = \[{ manufacturer = "
    ):
        approval.must_be_approved(settings(APPROVED), replace(HSM, **{name: "other"}), DEVICE)


def test_without_a_list_no_token_is_approved() -> None:
    with pytest.raises(ConfigurationError, match="not approved"):
        approval.must_be_approved(settings(), HSM, DEVICE)


def test_a_token_whose_certificate_nobody_read_is_not_approved_by_an_empty_entry() -> None:
    nameless = replace(HSM, certificate="")
    with pytest.raises(ConfigurationError, match="not approved"):
        approval.must_be_approved(settings(replace(APPROVED, certificate="")), nameless, DEVICE)


def test_a_token_of_which_the_ceremony_recorded_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="records nothing of it"):
        approval.must_be_approved(settings(APPROVED), None, DEVICE)


@pytest.mark.clause("BR 6.2.7")
@pytest.mark.parametrize("manufacturer", ["SoftHSM project", "Mozilla Foundation"])
@pytest.mark.parametrize("kind", [ModuleKind.SOFTHSM2, ModuleKind.GENERIC])
def test_a_software_token_is_refused_under_public_rules_whatever_the_list_says(
    kind: ModuleKind, manufacturer: str
) -> None:
    recorded = replace(HSM, manufacturer=manufacturer)
    listed = replace(APPROVED, manufacturer=manufacturer)
    with pytest.raises(ConfigurationError, match="is a software token"):
        approval.must_be_approved(settings(listed), recorded, HABITS[kind])


def test_a_private_ca_may_approve_its_software_token() -> None:
    recorded = replace(HSM, manufacturer="SoftHSM project", certificate="none: see our risk register, 7")
    listed = replace(APPROVED, manufacturer="SoftHSM project", certificate=recorded.certificate)
    private = settings(listed, rules=Rules.PRIVATE)
    approval.must_be_approved(private, recorded, HABITS[ModuleKind.SOFTHSM2])


def test_outside_production_any_token_does() -> None:
    approval.must_be_approved(settings(production=False), None, HABITS[ModuleKind.SOFTHSM2])


@pytest.mark.clause("BR 6.2.7")
def test_a_module_whose_file_was_changed_since_the_ceremony_gets_no_pin(tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    shutil.copy(Settings().vault.module, module)
    chosen = settings(module=str(module))
    made = modules.configured(chosen, tmp_path / "tokens", tmp_path / "conf")
    cryptoki = Cryptoki(made)
    serial = cryptoki.make_token("issuing", "so pin of the test", "1234")
    recorded = cryptoki.facts(serial)
    approval.must_be_the_recorded(chosen, recorded, cryptoki.facts(serial))
    with module.open("ab") as file:
        file.write(b"\x00")  # it would still load and sign
    with pytest.raises(HaltIssuance, match=r"module_sha256 was .* put the recorded token and module back"):
        approval.must_be_the_recorded(chosen, recorded, cryptoki.facts(serial))
    cryptoki.close()


def test_outside_production_a_changed_module_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        approval.must_be_the_recorded(
            settings(production=False), HSM, replace(HSM, firmware="8.0", certificate="")
        )
    assert "firmware was '7.8' and is '8.0'" in caplog.text


@pytest.mark.parametrize("name", ["manufacturer", "model", "firmware", "certificate", "module_sha256"])
def test_an_incomplete_approval_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"vault.approved_tokens.{name}"):
        checks.undated(replace(Settings(), vault=Vault(approved_tokens=(replace(APPROVED, **{name: ""}),))))
