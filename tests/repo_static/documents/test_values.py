"""The documents follow the configuration: turn a setting that they state, and both languages change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.causes import REASONS, RULES
from core.configuration import load
from core.key_proofs import TITLE
from core.requirements import TABLE, Limit
from core.settings import Rules, Settings
from operations.documents.agreement import SWITCH_WITHIN
from repo_static.documents import lint
from repo_static.documents.kinds import Document
from repo_static.documents.text import drafts
from repo_static.rendering import LANGUAGES
from signer.issuance import RECONCILE_EVERY
from signer.vault.templates import crl

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.clause("requirements 1.10")

STATED = [
    "ca.organization=Another CA",
    "ca.country=FR",
    "ca.caa_identities=another.example",
    "ca.local_names=",
    "ca.policy_oid=1.3.6.1.4.1.99999.7",
    "ca.terms_version=7",
    "ca.cps_version=7",
    "ca.contact=mailto:another@ca.example",
    "ca.high_risk=/etc/names",
    "ca.blocklist=/etc/keys",
    "ca.rollover_notice=8640000",
    "deployment.isolate=false",
    "acme.base_url=https://another.example",
    "acme.order_lifetime=86400",
    "acme.authorization_reuse=3600",
    "acme.external_account=required",
    "validation.methods=dns-01",
    'validation.perspectives=[{code = "oslo", region = "RIPE NCC"}]',
    "vault.responder_lifetime=864000",
    "vault.responder_renewal=86400",
    "ct.mode=on",
    "status.ocsp_validity=172800",
    "status.ocsp_refresh=43200",
    "status.ocsp_max_age=1800",
    "status.ocsp_certificates=1",
    "status.crl_validity=432000",
    "status.crl_refresh=43200",
    "status.crl_delay=60",
    "status.crl_shards=4",
    "status.issuer_crl_shards.ec-1=16",
    "repository.base_url=http://another.example",
    "repository.manifest_refresh=1800",
    f"repository.manifest_pins={'x' * 43}",
    "repository.report_url=https://report.example",
    "repository.report_personal_data=2592000",
    "test_sites.zone=try.example",
    "renewal.earliest=50",
    "renewal.latest=80",
    "renewal.short_life=172800",
    "renewal.short_earliest=30",
    "renewal.short_latest=60",
    "profiles.tlsserver.validity=2592000",
    "profiles.tlsserver.key_encipherment=false",
    "profiles.tlsserver.client_auth=true",
    "profiles.tlsserver.ocsp=false",
    "profiles.tlsserver.crl=false",
    "profiles.tlsserver.identifiers=dns,ip",
    "profiles.tlsserver.offered=false",
]


@pytest.mark.parametrize("override", STATED, ids=lambda each: each.partition("=")[0])
def test_a_setting_that_is_turned_turns_the_text_of_both_languages(override: str) -> None:
    more = {
        "ct.mode=on": ["ct.log_list=l", "ct.log_list_signature=s", "ct.log_list_key=k"],
        "test_sites.zone=try.example": ["test_sites.forwarded=true"],
        "repository.report_url=https://report.example": ["acme.trusted_proxies=192.0.2.80"],
    }
    before, after = Settings(), load(None, [override, *more.get(override, [])])
    for language in LANGUAGES:
        old, new = (drafts(Document.CP_CPS, each)[language] for each in (before, after))
        assert old != new
    assert lint.findings(Document.CP_CPS, drafts(Document.CP_CPS, after)) == []


@pytest.mark.parametrize("document", Document)
def test_the_same_settings_say_the_same_at_any_time(document: Document) -> None:
    assert drafts(document, Settings()) == drafts(document, Settings())


@pytest.mark.clause("BR 4.9.1.1")
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_cause_stands_in_the_table_with_its_reason_and_its_time(language: str) -> None:
    text = drafts(Document.CP_CPS, Settings())[language]
    for rule in RULES.values():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| ({rule.number}) ")]
        assert REASONS[rule.reason] in row
        assert str(rule.within // 3600) in row


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.clause("requirements Z3")
@pytest.mark.clause("requirements Z10")
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_public_text_has_the_rules_by_their_dates(language: str) -> None:
    settings = replace(Settings(), ca=replace(Settings().ca, rules=Rules.PUBLIC))
    sections = lint.sections(drafts(Document.CP_CPS, settings)[language])
    for limit, section in ((Limit.REMOTE_PERSPECTIVES, "3.2.2"), (Limit.LEAF_VALIDITY, "6.3.2")):
        for row in TABLE[limit][1:]:
            number = row.value if limit is Limit.REMOTE_PERSPECTIVES else row.value // 86400
            assert str(number) in sections[section]


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_of_other_rooms_are_theirs(language: str) -> None:
    sections = lint.sections(drafts(Document.CP_CPS, Settings())[language])
    assert str(crl.MAX_ROOT_VALIDITY // 86400) in sections["4.9.7"]
    assert TITLE in sections["4.9.12"]
    assert f"{RECONCILE_EVERY} " in sections["5.4.2"]
    production = replace(Settings(), deployment=replace(Settings().deployment, production=True))
    approval = lint.sections(drafts(Document.CP_CPS, production)[language])["1.5.4"]
    assert str(SWITCH_WITHIN // 3600) in approval


@pytest.mark.clause("requirements 2.86")
@pytest.mark.clause("requirements Z1")
@pytest.mark.clause("requirements Z2")
@pytest.mark.clause("requirements Z4")
@pytest.mark.clause("requirements Z5")
def test_what_root_programs_look_for_is_there() -> None:
    base = replace(Settings(), ca=replace(Settings().ca, rules=Rules.PUBLIC))
    settings = replace(base, deployment=replace(base.deployment, production=True))
    sections = lint.sections(drafts(Document.CP_CPS, settings)["en"])
    for section, words in {
        "1.1": (
            "those requirements take precedence",
            "https://cabforum.org/",
            "Chrome Root Program Policy",
            "CCADB Policy",
            "Mozilla Root Store Policy",
            "Microsoft Trusted Root Program",
            "Apple Root Certificate Program",
        ),
        "1.5.4": ("365 days",),
        "2.2": ("CC BY 4.0", "kept for ever"),
        "2.3": ("before the practice that it describes changes", "CCADB within 14 days"),
        "3.2.2": ("3.2.2.4.19", "3.2.2.4.7", "DNSSEC"),
        "4.2.2": ("RFC 8659", "RFC 8657", "`ca.example`"),
        "4.3.1": ("pkilint",),
        "4.9.12": ("revokeCert", "Proof of Key Compromise"),
        "4.9.13": ("not suspended",),
        "5.4.3": ("10 years", "2 years after the destruction of a CA key"),
        "5.7.1": ("comprehensive and actionable plan for mass revocation", "12 months"),
        "6.2.1": ("FIPS 140-2 level 3", "FIPS 140-3 level 3", "EAL 4"),
        "6.7": ("96 hours", "6 months"),
        "8.7": ("3 %", "3 months"),
        "9.12.2": ("before the change takes effect",),
        "9.16.3": ("questions@cabforum.org",),
    }.items():
        for word in words:
            assert word in sections[section], (section, word)


@pytest.mark.clause("requirements Z9")
@pytest.mark.clause("requirements 1.02")
def test_no_default_has_a_name_or_a_number_of_the_seeds_owner() -> None:
    for document in Document:
        for rules in Rules:
            settings = replace(Settings(), ca=replace(Settings().ca, rules=rules))
            for text in drafts(document, settings).values():
                assert not [word for word in ("53827", "JPRS", "jprs", "レジストリサービス") if word in text]
    rooms = ("core", "acme_server", "validation", "signer", "status", "repo_static", "operations")
    files = [ROOT / "config.toml", *(path for room in rooms for path in (ROOT / room).rglob("*"))]
    for path in files:
        if path.suffix in {".py", ".toml", ".j2", ".sql", ".html", ".css"}:
            text = path.read_text(encoding="utf-8")
            assert "53827" not in text, path
            assert "jprs" not in text.lower(), path
