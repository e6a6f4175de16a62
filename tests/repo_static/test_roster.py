"""repo_static/roster.py: what relying parties learn of chains and of what comes next."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from core.settings import Settings
from repo_static import publisher, roster
from repo_static.store import Store
from signer.api import Description, IssuerState
from tests.support.software_vault import CREATED, DAY, SoftwareVault, certificate

BASE = "http://localhost:14080"


@pytest.fixture(scope="module")
def vault() -> SoftwareVault:
    return SoftwareVault()


def crossed(vault: SoftwareVault) -> Description:
    """The hierarchy with a cross-certificate of the root, and one of ec1, by another CA."""
    other = certificate("Other Root", None, "ec", CREATED + 3650 * DAY, 9, ca=True, ocsp_signing=False)
    root = certificate("Example Root", other, "ec", CREATED + 900 * DAY, 10, ca=True, ocsp_signing=False)
    ec1 = certificate("Example ec1", other, "ec", CREATED + 800 * DAY, 11, ca=True, ocsp_signing=False)
    description = vault.description()

    def with_chains(issuer: Any) -> Any:
        by_root = (issuer.certificate, root.der, other.der)
        own = ((ec1.der, other.der),) if issuer.id == "ec1" else ()
        return replace(issuer, alternates=(by_root, *own))

    return replace(description, issuers=tuple(with_chains(each) for each in description.issuers))


def mark(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex()[:8]


def entry(description: Description, id: str) -> dict[str, Any]:
    return next(told for each in description.issuers if (told := roster.entry(each, BASE))["id"] == id)


@pytest.mark.clause("CP/CPS 2.2")
def test_every_file_that_the_roster_names_is_public(store: Store, vault: SoftwareVault) -> None:
    description = crossed(vault)
    publisher.publish(store, description, Settings())
    text = json.dumps([entry(description, id) for id in ("ec1", "rsa1")])
    named = [part.split('"')[0] for part in text.split(f'"{BASE}/')[1:]]
    assert len(named) == 2 + 3 * 2  # default chain; alternate and cross
    assert all(store.read(name) is not None for name in named)


@pytest.fixture
def store(tmp_path: Any) -> Store:
    return Store(tmp_path)


@pytest.mark.clause("RFC 8555 section 7.4.2")
def test_a_chain_is_told_with_its_anchor_and_its_cross_certificate(vault: SoftwareVault) -> None:
    description = crossed(vault)
    default, by_root, own = entry(description, "ec1")["chains"]
    assert default["default"] is True
    assert default["url"] == f"{BASE}/issuers/ec1-chain.pem"
    assert "cross_certificate" not in default
    info = next(each for each in description.issuers if each.id == "ec1")
    assert by_root["cross_certificate"] == f"{BASE}/issuers/root-cross-{mark(info.alternates[0][1])}.crt"
    assert own["cross_certificate"] == f"{BASE}/issuers/ec1-cross-{mark(info.alternates[1][0])}.crt"
    assert {by_root["default"], own["default"]} == {False}
    assert "Other Root" in by_root["trust_anchor"]
    assert len(by_root["certificates"]) == 3
    assert len(own["certificates"]) == 2


def test_a_chain_in_the_roster_verifies(store: Store, vault: SoftwareVault) -> None:
    publisher.publish(store, crossed(vault), Settings())
    for name in store.names("issuers"):
        if "-chain" in name:
            chain = x509.load_pem_x509_certificates(store.read(name) or b"")
            for subject, issuer in pairwise(chain):
                subject.verify_directly_issued_by(issuer)


def test_the_roster_tells_who_signs_when_and_who_comes_next(vault: SoftwareVault) -> None:
    description = vault.description()
    ec1, *rest = description.issuers
    since = CREATED + 700 * DAY
    old = replace(ec1, state=IssuerState.ACTIVE, until=since + 30 * DAY)
    new = replace(ec1, id="ec2", since=since)
    planned = replace(ec1, id="ec3", state=IssuerState.PLANNED)
    told = replace(description, issuers=(new, old, planned, *rest))
    ordered = [each.id for each in roster.in_order(told.issuers)]
    assert ordered == ["ec1", "ec3", "ec2", "rsa1", "local1"]
    assert entry(told, "ec1")["signs_until"] == "2028-11-21T00:00:00Z"
    assert entry(told, "ec2")["signs_from"] == "2028-10-22T00:00:00Z"
    assert entry(told, "ec3")["signs_from"] is None
    assert entry(told, "ec3")["state"] == "planned"


def test_a_retired_issuer_is_marked_on_the_page(store: Store, vault: SoftwareVault) -> None:
    description = vault.description()
    ec1, *rest = description.issuers
    retired = replace(ec1, state=IssuerState.RETIRED)
    publisher.publish(store, replace(description, issuers=(retired, *rest)), Settings())
    assert (store.root / "index.html").read_text().count("retired: status only") == 1
