"""repo_static/documents/practice.py: an operator's own sentences, without touching a template."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.settings import Ca, Settings
from repo_static.documents import lint, practice
from repo_static.documents.kinds import Document
from repo_static.documents.text import drafts

GOOD = '[en]\n"5.1.1" = "In a cave of {organization}."\n[ja]\n"5.1.1" = "{organization} の洞窟の中。"\n'


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "practice.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_his_sentence_stands_in_place_of_ours_and_the_rest_stays(tmp_path: Path) -> None:
    settings = replace(Settings(), ca=Ca(practice=written(tmp_path, GOOD)))
    texts, ours = drafts(Document.CP_CPS, settings), drafts(Document.CP_CPS, Settings())
    sections = {language: lint.sections(text) for language, text in texts.items()}
    assert sections["en"]["5.1.1"] == "In a cave of Example Private CA."
    assert sections["ja"]["5.1.1"] == "Example Private CA の洞窟の中。"
    differing = {
        number for number, text in lint.sections(ours["en"]).items() if sections["en"][number] != text
    }
    assert differing == {"5.1.1"}


def test_every_sentence_that_can_be_stated_is_somewhere_in_the_documents(tmp_path: Path) -> None:
    lines = [f'"{section}" = "Sentence {section} here."' for section in practice.sections()]
    path = written(tmp_path, "\n".join(("[en]", *lines, "[ja]", *lines)))
    settings = replace(Settings(), ca=Ca(practice=path))
    for text in drafts(Document.CP_CPS, settings).values():
        for section in practice.sections():
            assert f"Sentence {section} here." in lint.sections(text)[section]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace('"5.1.1"', '"5.1.12"', 1), '"5.1.12" cannot be stated there; did you mean "5.1.2"?'),
        (GOOD.split("[ja]")[0], 'section "5.1.1" is there in one language only'),
        (GOOD.replace("[ja]", "[fr]"), r"\[fr\] is no language"),
        ('en = "no"', r"write \[en\]"),
        (GOOD.replace("In a cave of {organization}.", " "), "says nothing"),
        (GOOD.replace("In a cave", "## 10 In a cave"), "begins with a heading"),
        ("[en", "is no TOML"),
    ],
)
def test_what_is_wrong_is_refused_with_the_place_and_the_remedy(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        practice.load(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"ca\.practice = /nowhere\.toml: cannot be read"):
        practice.load("/nowhere.toml")


@pytest.mark.clause("requirements Z6")
@pytest.mark.clause("Mozilla RSP 3.3")
@pytest.mark.parametrize(
    ("language", "text", "word"),
    [
        ("en", "We look periodically.", "periodically"),
        ("en", "Revoked promptly.", "promptly"),
        ("en", "Renewed as necessary.", "as necessary"),
        ("en", "In a timely manner.", "timely"),
        ("en", "With reasonable care.", "reasonable"),
        ("ja", "定期的に確認する。", "定期的"),
        ("ja", "すみやかに復旧する。", "すみやか"),
        ("ja", "適時、取得する。", "適時"),
        ("ja", "必要に応じ見直す。", "必要に応じ"),
    ],
)
def test_a_vague_word_is_found_with_its_line(language: str, text: str, word: str) -> None:
    texts = {"en": "# T\n", "ja": "# T\n"} | {language: f"# T\n\n{text}\n"}
    (found,) = lint.findings(Document.TERMS, texts)
    assert found.startswith(f"{language}, line 3: '{word}' is no number")


def test_blank_missing_and_empty_sections_are_found() -> None:
    texts = drafts(Document.CP_CPS, Settings())
    english = texts["en"].replace("#### 4.9.13 Circumstances for suspension", "#### 4.9.99 Gone")
    english = english.replace("Policy qualifiers are not used.", "No stipulation.")
    english = english.replace("The extension policyConstraints is not used.", "")
    found = lint.findings(Document.CP_CPS, {**texts, "en": english})
    assert found == [
        "en: section 4.9.13 is missing",
        "en: section 7.1.7 is blank",
        "en: section 7.1.8 says only 'No stipulation.': say why",
        "section 4.9.13 is in one language only",
        "section 4.9.99 is in one language only",
    ]
