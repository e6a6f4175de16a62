"""What only the operator can say: premises, people, liability, fees, law; by the sections of RFC 3647.

Our defaults (content/practice.toml) are whole sentences for a small private CA.  An operator states his own
facts in a file of the same form, `ca.practice`, and need not touch a template:

    [en]
    "5.1.1" = "The systems stand in two data centres, in Tokyo and in Osaka."
    [ja]
    "5.1.1" = "システムは東京と大阪の二つのデータセンターに設置する。"

Must never: let one language say what the other does not.

RFC 3647 section 6; requirements U6.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from repo_static.rendering import CONTENT, LANGUAGES

Practice = Mapping[str, Mapping[str, str]]
"""Language -> section -> text in Markdown."""


def load(path: str) -> Practice:
    """Our sentences, and in their place those of the file; "" for ours alone.

    Raises: `ConfigurationError` naming the section, and the nearest that can be stated.
    """
    ours = _ours()
    if not path:
        return ours
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _wrong(path, f"cannot be read ({error.strerror}); name a TOML file, or none") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, f"is no TOML in UTF-8: {error}") from error
    if unknown := sorted(found.keys() - set(LANGUAGES)):
        raise _wrong(path, f"[{unknown[0]}] is no language of the documents: write [en] and [ja]")
    texts = {language: _texts(path, language, found.get(language, {})) for language in LANGUAGES}
    if texts["en"].keys() != texts["ja"].keys():
        alone = sorted(texts["en"].keys() ^ texts["ja"].keys())[0]
        raise _wrong(path, f'section "{alone}" is there in one language only: write it in [en] and in [ja]')
    return {language: {**ours[language], **texts[language]} for language in LANGUAGES}


def sections() -> list[str]:
    """The sections that an operator may state."""
    return list(_ours()["en"])


def _texts(path: str, language: str, table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise _wrong(path, f"{language} is no table: write [{language}]")
    for section, text in table.items():
        if section not in _ours()[language]:
            near = difflib.get_close_matches(section, sections(), 1, 0.0)
            raise _wrong(path, f'[{language}] "{section}" cannot be stated there; did you mean "{near[0]}"?')
        if not isinstance(text, str) or not text.strip():
            raise _wrong(path, f'[{language}] "{section}" says nothing: write a sentence')
        if text.lstrip().startswith("#"):
            raise _wrong(path, f'[{language}] "{section}" begins with a heading: the outline is not yours')
    return {section: text.strip() for section, text in table.items()}


@cache
def _ours() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = tomllib.loads((CONTENT / "practice.toml").read_text(encoding="utf-8"))
    return found


def _wrong(path: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"ca.practice = {path}: {why}")
