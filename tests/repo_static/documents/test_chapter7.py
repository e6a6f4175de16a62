"""Chapter 7 of the CP/CPS says what the vault's templates make: a certificate of each kind, CRL, OCSP answer.

The tables of the rendered text are read, and compared with certificates that were really built.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.x509 import ocsp as x509_ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from core.settings import Ca, Ct, CtMode, Profile, Rules, Settings, Status
from repo_static.documents.kinds import Document
from repo_static.documents.text import drafts
from repo_static.rendering import LANGUAGES
from signer.api import CrlEntry, OcspRequest
from signer.ct import sct
from signer.vault.templates import ca_certificates, crl, leaf, ocsp, profiles
from signer.vault.templates.ca_certificates import Subject
from tests.support.software_ca import (
    BEGINS,
    DAY,
    NOW,
    SERIAL,
    URLS,
    leaf_request,
    private_key,
    sign,
    software_ca,
    spki,
)

Table = dict[str, tuple[bool, str]]
"""OID -> critical, what the text says of it."""

MANY = {
    "plain": Profile(),
    "bare": Profile(ocsp=False, crl=False, key_encipherment=False, validity=6 * DAY),
    "no-ocsp": Profile(ocsp=False),
}
PRIVATE = Settings(profiles={**MANY, "client": Profile(client_auth=True)})
EVERY = {
    "private": PRIVATE,
    "private with a policy": replace(PRIVATE, ca=Ca(policy_oid="1.3.6.1.4.1.99999.1")),
    "public": replace(Settings(), ca=Ca(rules=Rules.PUBLIC), profiles=MANY),
    "public with CT and shards": replace(
        Settings(),
        ca=Ca(rules=Rules.PUBLIC, policy_oid="1.3.6.1.4.1.99999.1"),
        profiles=MANY,
        ct=Ct(mode=CtMode.ON),
        status=Status(crl_shards=8),
    ),
}
pytestmark = pytest.mark.clause("requirements 1.10")


def tables(text: str) -> dict[str, Table]:
    """By the bold line or the heading above each."""
    found: dict[str, Table] = {}
    title = ""
    for line in text.splitlines():
        if named := re.match(r"\*\*(.*?)\*\*|#+ ([\d.]+)", line):
            title = named[1] or named[2]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and re.fullmatch(r"\d+(\.\d+)+", cells[1]):
            found.setdefault(title, {})[cells[1]] = cells[2] == "C", cells[3]
    return found


def extensions(found: x509.Extensions) -> dict[str, bool]:
    return {each.oid.dotted_string: each.critical for each in found}


def critical(table: Table) -> dict[str, bool]:
    return {oid: critical for oid, (critical, _) in table.items()}


@pytest.fixture(params=[(s, language) for s in EVERY for language in LANGUAGES], ids=lambda p: "-".join(p))
def chosen(request: pytest.FixtureRequest) -> tuple[Settings, dict[str, Table], str]:
    name, language = request.param
    text = drafts(Document.CP_CPS, EVERY[name])[language]
    return EVERY[name], tables(text), text


def titled(found: dict[str, Table], *names: str) -> Table:
    (table,) = [table for title, table in found.items() if title in names]
    return table


@pytest.mark.clause("RFC 3647 section 4.7.1")
def test_a_subscriber_certificate_of_each_profile_has_the_extensions_of_its_table(
    chosen: tuple[Settings, dict[str, Table], str],
) -> None:
    settings, found, text = chosen
    ca = software_ca("rsa-2048")
    for name in settings.profiles:
        profile = profiles.from_settings(settings)[name]
        request = leaf_request(issuer_id=ca.issuer.id, profile=name, public_key=spki(private_key("rsa-2048")))
        made = x509.load_der_x509_certificate(
            leaf.dummy_signed(leaf.build_tbs(ca.issuer, profile, request), ca.issuer)
        )
        table = titled(found, f"Subscriber, profile `{name}`", f"利用者、プロファイル `{name}`")
        really = extensions(made.extensions)
        if profile.ct:
            assert really.pop(sct.POISON)
            assert sct.POISON in table[sct.SCT_LIST][1]
            really[sct.SCT_LIST] = False
        assert critical(table) == really
        assert list(critical(table)) == list(really)  # in this order
        usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
        assert ("keyEncipherment" in table["2.5.29.15"][1]) is usage.key_encipherment
        purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert ("clientAuth" in table["2.5.29.37"][1]) is (ExtendedKeyUsageOID.CLIENT_AUTH in purposes)
        access = made.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        assert ("OCSP" in table["1.3.6.1.5.5.7.1.1"][1]) is (len(access) == 2)
        if ExtensionOID.CERTIFICATE_POLICIES.dotted_string in really:
            policies = made.extensions.get_extension_for_class(x509.CertificatePolicies).value
            for policy in policies:
                assert policy.policy_identifier.dotted_string in text
        assert made.subject == x509.Name([])


def test_ca_and_responder_certificates_have_the_extensions_of_their_tables(
    chosen: tuple[Settings, dict[str, Table], str],
) -> None:
    settings, found, _ = chosen
    ca = software_ca()
    policies = profiles.from_settings(settings)["plain"].policies
    subject, key = Subject("JP", "Acme Trust", "Acme TLS"), private_key("ec-p256", 7).public_key()
    issuing = ca_certificates.issuing(
        ca.root, ca.root_key, key, subject, SERIAL, BEGINS, URLS, policies=policies
    )
    responder = ca_certificates.ocsp_responder(ca.certificate, ca.key, key, subject, SERIAL, NOW)
    for titles, der in (
        (("Root CA", "ルート CA"), ca.root),
        (("Issuing CA", "発行 CA"), issuing),
        (("OCSP responder", "OCSP レスポンダー"), responder),
    ):
        made = x509.load_der_x509_certificate(der)
        assert critical(titled(found, *titles)) == extensions(made.extensions), titles


@pytest.mark.clause("RFC 3647 section 4.7.2")
def test_a_crl_has_the_extensions_and_reasons_of_its_table(
    chosen: tuple[Settings, dict[str, Table], str],
) -> None:
    settings, found, text = chosen
    ca = software_ca()
    url = ca.issuer.crl_url(0) if settings.status.crl_shards > 1 else None
    entries = [CrlEntry(bytes([reason]), NOW, reason) for reason in sorted(crl.ALLOWED_REASONS)]
    tbs = crl.build_tbs(ca.issuer, 1, NOW, NOW + DAY, entries, url)
    made = x509.load_der_x509_crl(crl.assemble(tbs, ca.issuer.algorithm.identifier, sign(ca.key, tbs)))
    assert critical(found["7.2.2"]) == extensions(made.extensions)
    said = re.search(r"^#### 7\.2\.2.*?(?=^#)", text, re.DOTALL | re.MULTILINE)
    assert said is not None
    for entry in made:
        (extension,) = entry.extensions
        assert isinstance(extension.value, x509.CRLReason)
        assert extension.oid.dotted_string in said[0]
        assert extension.value.reason.value in said[0]


@pytest.mark.clause("RFC 3647 section 4.7.3")
def test_an_ocsp_answer_has_no_extensions_and_names_its_responder_by_key(
    chosen: tuple[Settings, dict[str, Table], str],
) -> None:
    del chosen
    ca = software_ca()
    subject, key = Subject("JP", "Acme Trust", "Acme OCSP"), private_key("ec-p256", 3)
    certificate = ca_certificates.ocsp_responder(
        ca.certificate, ca.key, key.public_key(), subject, SERIAL, NOW
    )
    request = OcspRequest("ec-p256", SERIAL, "sha256", NOW, NOW + DAY, NOW, 1)
    tbs = ocsp.build_tbs(ca.issuer, bytes(20), NOW + 2 * DAY, (request,), NOW)
    made = x509_ocsp.load_der_ocsp_response(
        ocsp.assemble(tbs, ca.issuer.algorithm.identifier, sign(key, tbs), certificate)
    )
    assert list(made.extensions) == []
    assert list(made.single_extensions) == []
    assert made.responder_key_hash is not None
    assert made.revocation_reason is x509.ReasonFlags.key_compromise
    assert len(made.certificates) == 1


@pytest.mark.clause("CPS 6.3.2")
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_lives_of_ca_certificates_are_those_of_the_templates(language: str) -> None:
    text = drafts(Document.CP_CPS, Settings())[language]
    for row, lifetime in (
        ("Root CA|ルート CA", ca_certificates.ROOT_LIFETIME),
        ("Issuing CA|発行 CA", ca_certificates.ISSUING_LIFETIME),
    ):
        said = re.search(rf"^\| (?:{row}) \| .*?(\d+) (?:days|日)", text, re.MULTILINE)
        assert said is not None
        assert int(said[1]) * DAY == lifetime


def test_the_poison_and_the_reserved_policy_are_those_of_the_code() -> None:
    text = drafts(Document.CP_CPS, EVERY["public with CT and shards"])["en"]
    assert f"{profiles.RESERVED_DV_POLICY} (domain validated), and then 1.3.6.1.4.1.99999.1" in text
