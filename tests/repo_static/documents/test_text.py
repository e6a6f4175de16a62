"""repo_static/documents/text.py and the text itself: RFC 3647's outline, whole and true."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from acme_server.registration.caa_recheck import CAA_GOOD_FOR
from core.methods import METHODS
from core.settings import Ca, Perspective, Rules, Settings, Validation
from repo_static.documents.text import cp_cps
from repo_static.rendering import LANGUAGES

OUTLINE = {1: 6, 2: 4, 3: 4, 4: 12, 5: 8, 6: 8, 7: 3, 8: 6, 9: 17}
"""RFC 3647 section 6: how many second-level sections each chapter has."""

PUBLIC = replace(Settings(), ca=Ca(rules=Rules.PUBLIC, policy_oid="1.3.6.1.4.1.99999.1"))


@pytest.mark.clause("RFC 3647 section 6")
@pytest.mark.parametrize("settings", [Settings(), PUBLIC], ids=["private", "public"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_cp_cps_has_every_section_and_none_is_empty(language: str, settings: Settings) -> None:
    sections = _sections(cp_cps(language, settings))
    for chapter, count in OUTLINE.items():
        second = [n for n in sections if re.fullmatch(rf"{chapter}\.\d+", n)]
        assert second == [f"{chapter}.{n}" for n in range(1, count + 1)]
    for number, text in sections.items():
        has_parts = any(other.startswith(f"{number}.") for other in sections)
        assert has_parts or text, number


def test_both_languages_have_the_same_sections() -> None:
    english, japanese = (list(_sections(cp_cps(each, PUBLIC))) for each in LANGUAGES)
    assert english == japanese


@pytest.mark.clause("CP/CPS 1.10")
@pytest.mark.parametrize(
    ("language", "texts"),
    [
        (
            "en",
            ["7 days after thisUpdate", "valid for 4 days", "90 days (profile `tlsserver`)", "`ca.example`"],
        ),
        (
            "ja",
            ["thisUpdate の 7 日後", "有効期間は 4 日", "90 日（プロファイル `tlsserver`）", "`ca.example`"],
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


def _sections(markdown: str) -> dict[str, str]:
    """Section number -> its text, without the headings."""
    found: dict[str, str] = {}
    number = ""
    for line in markdown.splitlines():
        heading = re.match(r"#{2,4} (\d+(?:\.\d+)*)\.? ", line)
        if heading:
            number = heading[1]
            found[number] = ""
        elif line.startswith("#"):
            number = ""
        elif number:
            found[number] += line.strip()
    return found
