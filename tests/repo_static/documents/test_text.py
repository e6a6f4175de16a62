"""repo_static/documents/text.py and the text itself: RFC 3647's outline, whole and true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acme_server.registration.caa_recheck import CAA_GOOD_FOR
from core.methods import METHODS
from core.settings import Ca, Ct, CtMode, Deployment, Perspective, Rules, Settings, Validation
from repo_static.documents import lint
from repo_static.documents.kinds import Document
from repo_static.documents.text import drafts
from repo_static.rendering import LANGUAGES

PUBLIC = replace(Settings(), ca=Ca(rules=Rules.PUBLIC, policy_oid="1.3.6.1.4.1.99999.1"))


PRODUCTION = replace(
    PUBLIC,
    ca=replace(PUBLIC.ca, high_risk="names.txt", blocklist="keys.dat"),
    deployment=Deployment(production=True),
    ct=Ct(mode=CtMode.ON),
    validation=Validation(
        methods=tuple(METHODS), perspectives=(Perspective("tokyo"), Perspective("oregon", "ARIN"))
    ),
)
EVERY = {"private": Settings(), "public": PUBLIC, "production": PRODUCTION}


def cp_cps(language: str, settings: Settings) -> str:
    return drafts(Document.CP_CPS, settings)[language]


@pytest.mark.clause("RFC 3647 section 6")
@pytest.mark.clause("Mozilla RSP 3.3")
@pytest.mark.clause("requirements 1.10")
@pytest.mark.clause("requirements Z6")
@pytest.mark.clause("requirements Z7")
@pytest.mark.clause("requirements Z8")
@pytest.mark.parametrize("document", Document)
@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY)
def test_no_text_has_a_blank_section_or_a_vague_word(document: Document, settings: Settings) -> None:
    assert lint.findings(document, drafts(document, settings)) == []


@pytest.mark.clause("RFC 3647 section 6")
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_of_the_outline_is_there_in_its_order(language: str) -> None:
    found = list(lint.sections(cp_cps(language, PRODUCTION)))
    assert [each for each in found if each in lint.outline()] == lint.outline()


@pytest.mark.clause("CP/CPS 1.10")
@pytest.mark.parametrize(
    ("language", "texts"),
    [
        (
            "en",
            ["7 days after thisUpdate", "valid for 4 days", "profile `tlsserver` | 90 days", "`ca.example`"],
        ),
        (
            "ja",
            ["thisUpdate の 7 日後", "有効期間は 4 日", "プロファイル `tlsserver` | 90 日", "`ca.example`"],
        ),
    ],
)
def test_the_numbers_come_from_the_settings(language: str, texts: list[str]) -> None:
    document = cp_cps(language, Settings())
    for text in texts:
        assert text in document


@pytest.mark.clause("BR 2.2: the methods with their numbers")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_named_with_its_clause(method: str) -> None:
    settings = replace(Settings(), validation=Validation(methods=(method,)))
    for language in LANGUAGES:
        assert METHODS[method].sources in cp_cps(language, settings)


@pytest.mark.clause("BR 2.2")
def test_the_public_text_puts_the_baseline_requirements_first() -> None:
    assert "those requirements take precedence" in cp_cps("en", PUBLIC)
    assert "take precedence" not in cp_cps("en", Settings())


@pytest.mark.clause("BR 4.2.2.1")
def test_the_text_says_when_caa_is_checked_again() -> None:
    assert f"older than {CAA_GOOD_FOR // 3600} hours" in cp_cps("en", Settings())
    assert f"{CAA_GOOD_FOR // 3600} 時間を超えている" in cp_cps("ja", Settings())


@pytest.mark.clause("RFC 8657 section 5.2")
@pytest.mark.must("rfc8657.5.2.documented")
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_names_our_issuer_domain_names_and_the_parameters_that_we_recognise(language: str) -> None:
    document = cp_cps(language, Settings())
    for word in ("`accounturi`", "`validationmethods`", *(f"`{n}`" for n in Settings().ca.caa_identities)):
        assert word in document


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_public_text_names_the_perspectives(language: str) -> None:
    places = (Perspective("tokyo", "APNIC"), Perspective("oregon", "ARIN"))
    settings = replace(PUBLIC, validation=replace(PUBLIC.validation, perspectives=places))
    document = cp_cps(language, settings)
    assert "oregon" in document
    assert "ARIN" in document
