"""The ceremony and its seal."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError, HaltIssuance
from core.randomness import SystemRandomness
from core.settings import Ca, Rules
from signer.api import KeyUse
from signer.vault.ceremony import embedded
from signer.vault.record.journal import Journal
from signer.vault.sealed import hierarchy
from tests.support.hierarchy import made, settings


def test_the_ceremony_makes_a_root_and_one_issuer_for_each_key_family_and_one_for_ourselves(
    ceremony: DataDirectory,
) -> None:
    found = hierarchy.load(ceremony, settings())
    assert [(issuer.id, issuer.use) for issuer in found.issuers] == [
        ("rsa-1", KeyUse.ISSUING),
        ("ec-1", KeyUse.ISSUING),
        ("local-1", KeyUse.LOCAL_SERVICE),
    ]
    keys = [x509.load_der_x509_certificate(issuer.certificate).public_key() for issuer in found.issuers]
    assert isinstance(keys[0], rsa.RSAPublicKey)
    assert all(isinstance(key, ec.EllipticCurvePublicKey) for key in keys[1:])


def test_openssl_verifies_every_issuer_under_the_trust_anchor(
    ceremony: DataDirectory, tmp_path: Path
) -> None:
    for issuer in hierarchy.load(ceremony, settings()).issuers:
        path = tmp_path / f"{issuer.id}.der"
        path.write_bytes(issuer.certificate)
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-CAfile", str(ceremony.trust_anchor), str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_root_signs_a_crl_of_its_own(ceremony: DataDirectory) -> None:
    found = hierarchy.load(ceremony, settings())
    root = x509.load_der_x509_certificate(found.root)
    crl = x509.load_der_x509_crl(found.root_crl)
    assert crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]
    assert len(crl) == 0


@pytest.mark.clause("BR 6.1.7")
def test_the_root_key_lies_in_a_token_that_the_vault_does_not_open(ceremony: DataDirectory) -> None:
    found = hierarchy.load(ceremony, settings())
    assert found.root_token != found.issuing_token
    assert (ceremony.tokens / "root").is_dir()
    assert (ceremony.vault / "pin").read_text() != (ceremony.vault / "root-pin").read_text()


def test_the_pins_are_readable_by_their_owner_alone(ceremony: DataDirectory) -> None:
    for name in ("pin", "root-pin"):
        assert (ceremony.vault / name).stat().st_mode & 0o777 == 0o600


def test_no_pin_stands_in_any_other_file(ceremony: DataDirectory) -> None:
    pins = {(ceremony.vault / name).read_bytes().strip() for name in ("pin", "root-pin")}
    for path in ceremony.root.rglob("*"):
        if path.is_file() and path.name not in ("pin", "root-pin"):
            assert not any(pin in path.read_bytes() for pin in pins), path


def test_a_pin_that_the_operator_laid_down_is_used(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("chosen by the operator\n")
    chosen = replace(settings(), vault=replace(settings().vault, pin_file=str(pin)))
    data = made(tmp_path / "data", chosen)
    assert hierarchy.read_pin(chosen, data) == "chosen by the operator"
    assert pin.read_text() == "chosen by the operator\n"
    assert not data.pin.exists()


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'"rules": "private"', '"rules": "public"'),
        (r'"code": "local"', '"code": "other"'),
        (r'"label": "ec-1"', '"label": "local-1"'),
        (r'"created_at": \d', '"created_at": 9'),
    ],
)
def test_a_changed_hierarchy_stops_the_vault(data: DataDirectory, pattern: str, replacement: str) -> None:
    text = data.hierarchy.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    data.hierarchy.write_text(changed)
    with pytest.raises(HaltIssuance, match="not what the root key sealed"):
        hierarchy.load(data, settings())


def test_a_perspective_key_cannot_be_added_by_hand(data: DataDirectory) -> None:
    file = json.loads(data.hierarchy.read_text())
    file["sealed"]["perspectives"].append(file["sealed"]["perspectives"][0] | {"code": "mine"})
    data.hierarchy.write_text(json.dumps(file))
    with pytest.raises(HaltIssuance):
        hierarchy.load(data, settings())


def test_another_trust_anchor_stops_the_vault(data: DataDirectory) -> None:
    issuer = hierarchy.load(data, settings()).issuers[0].certificate
    data.trust_anchor.write_bytes(_pem(issuer))
    with pytest.raises(HaltIssuance, match=r"trust-anchor\.pem is another certificate"):
        hierarchy.load(data, settings())


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json"])
def test_a_damaged_hierarchy_stops_the_vault(data: DataDirectory, damage: bytes) -> None:
    data.hierarchy.write_bytes(damage)
    with pytest.raises(HaltIssuance):
        hierarchy.load(data, settings())


def test_other_rules_than_the_sealed_ones_are_refused_with_both_remedies(ceremony: DataDirectory) -> None:
    public = settings(ca=Ca(rules=Rules.PUBLIC))
    with pytest.raises(ConfigurationError, match=r"set ca.rules = 'private', or make another CA"):
        hierarchy.load(ceremony, public)


def test_a_data_directory_without_hierarchy_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="hold the ceremony first"):
        hierarchy.load(DataDirectory(tmp_path), settings())


def test_a_second_ceremony_in_the_same_place_is_refused_and_changes_nothing(data: DataDirectory) -> None:
    before = _content(data.root)
    with pytest.raises(ConfigurationError, match="holds a hierarchy already"):
        made(data.root)
    assert _content(data.root) == before


def test_tokens_without_their_hierarchy_are_never_thrown_away(data: DataDirectory) -> None:
    data.hierarchy.unlink()
    before = _content(data.root)
    with pytest.raises(ConfigurationError, match=r"hierarchy\.json is gone: restore the file"):
        made(data.root)
    shutil.rmtree(data.vault / "ceremonies")
    with pytest.raises(ConfigurationError, match="tokens of an unknown hierarchy"):
        made(data.root)
    assert _content(data.root).keys() == {name for name in before if "ceremonies" not in name}


def test_a_journal_without_its_hierarchy_is_never_joined_to_new_keys(data: DataDirectory) -> None:
    data.hierarchy.unlink()
    shutil.rmtree(data.tokens)
    shutil.rmtree(data.vault / "ceremonies")
    data.journal.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"without hierarchy\.json"):
        made(data.root)


def test_a_perspective_without_a_key_is_refused(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    with pytest.raises(ConfigurationError, match="let each make its key first"):
        embedded.create(data, settings(), SystemClock(), SystemRandomness(), {})
    assert not data.tokens.exists()
    assert not hierarchy.exists(data)


def _content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def _pem(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


@pytest.mark.clause("CPS 6.5")
async def test_a_seal_older_than_the_vault_has_used_stops_it_and_is_not_remembered(
    data: DataDirectory, tmp_path: Path
) -> None:
    found = hierarchy.load(data, settings())
    journal = Journal(tmp_path / "journal", SystemClock())
    try:
        await hierarchy.must_not_be_older(journal, replace(found, sequence=2), data.hierarchy)
        await hierarchy.must_not_be_older(journal, replace(found, sequence=2), data.hierarchy)
        before = journal.sequence
        for other in (found, replace(found, sequence=2, created_at=1)):
            with pytest.raises(HaltIssuance, match="which the vault has used"):
                await hierarchy.must_not_be_older(journal, other, data.hierarchy)
        assert journal.sequence == before == 1
    finally:
        journal.close()


@pytest.mark.clause("CPS 6.5")
async def test_a_seal_of_another_root_stops_the_vault_whatever_its_number(
    data: DataDirectory, tmp_path: Path
) -> None:
    found = hierarchy.load(data, settings())
    another = replace(found, sequence=99, root=found.issuers[0].certificate)
    for _ in range(2):  # a restart remembers
        journal = Journal(tmp_path / "journal", SystemClock())
        try:
            await hierarchy.must_not_be_older(journal, found, data.hierarchy)
            with pytest.raises(HaltIssuance, match="another root"):
                await hierarchy.must_not_be_older(journal, another, data.hierarchy)
            assert journal.sequence == 1
            assert journal.root == found.root
        finally:
            journal.close()
