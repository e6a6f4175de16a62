"""The texts of the CP/CPS and of the terms: their numbers and names are those that the CA runs with.

A *draft* is what the settings say now.  It becomes a published text by a line with its dates and by the
change log, which come from the record of its approval.

Must never: state a value that the CA does not run with.

RFC 3647 section 6; requirements 1.10.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.settings import Rules, Settings
from repo_static.documents import practice, values
from repo_static.documents.kinds import Document
from repo_static.rendering import LANGUAGES, base_url, environment, report_url

Texts = Mapping[str, str]
"""Language -> Markdown."""

_LOG = {"en": "## Change log", "ja": "## 変更履歴"}
_HEAD = {"en": "| Version | Effective | Change |", "ja": "| 版 | 発効日 | 変更 |"}


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the change log; `at` are POSIX seconds of the day from which the version binds."""

    version: str
    at: int
    summary: Mapping[str, str]


def drafts(document: Document, settings: Settings) -> dict[str, str]:
    """What the settings say, in all languages.  Raises: as `practice.load`."""
    said = practice.load(settings.ca.practice)
    return {language: _draft(document, language, settings, said[language]) for language in LANGUAGES}


def digest(texts: Texts) -> bytes:
    """SHA-256 over both languages' drafts: what is approved, and what the settings must go on to say."""
    return hashlib.sha256(b"\0".join(texts[language].encode() for language in LANGUAGES)).digest()


def whole(draft: str, language: str, changes: Sequence[Change], published: int) -> str:
    """The text as it is published: the draft, its dates and the change log, the newest change first."""
    title, _, rest = draft.partition("\n")
    rows = [f"| {each.version} | {_day(each.at)} | {_cell(each.summary[language])} |" for each in changes]
    log = "\n".join((_LOG[language], "", _HEAD[language], "| --- | --- | --- |", *rows))
    return f"{title}\n\n{_dates(language, published, changes[0].at)}\n{rest.rstrip()}\n\n{log}\n"


def draft_of(text: str, language: str) -> str:
    """The draft in a published text: `whole`, undone."""
    title, _, _, rest = text.split("\n", 3)
    return f"{title}\n{rest.rpartition(_LOG[language])[0].rstrip()}\n"


def _draft(document: Document, language: str, settings: Settings, said: Mapping[str, str]) -> str:
    text = (
        environment()
        .get_template(f"{document}.{language}.md.j2")
        .render(
            settings=settings,
            base=base_url(settings),
            reports=report_url(settings),
            public=settings.ca.rules is Rules.PUBLIC,
            practice={section: _filled(words, settings) for section, words in said.items()},
            language=language,
            **values.of(settings, language),
        )
    )
    # What a condition left out leaves its blank line.
    return re.sub(r"\n{3,}", "\n\n", text.rstrip()) + "\n"


def _filled(words: str, settings: Settings) -> str:
    for name in ("organization", "country", "contact"):
        words = words.replace(f"{{{name}}}", str(getattr(settings.ca, name)))
    return words


def _dates(language: str, published: int, effective: int) -> str:
    if language == "ja":
        return f"公開日：{_day(published)}。発効日：{_day(effective)}。"
    return f"Published on {_day(published)}; effective from {_day(effective)}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
