"""How pages and documents are made of templates: one environment, and the words of both languages.

Must never: let a value that an operator or a stranger chose become markup.
"""

from __future__ import annotations

import tomllib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.settings import Settings

LANGUAGES = ("en", "ja")
"""The English text is the authoritative one (CCADB policy 4)."""

CONTENT = Path(__file__).parent / "content"


def render(template: str, language: str, **values: Any) -> str:
    """The page that a template makes, with the words of `language` as `t`."""
    return environment().get_template(template).render(language=language, t=words()[language], **values)


def duration(seconds: int, language: str) -> str:
    """Seconds in the largest unit that divides them: "7 days", "96 hours" -> "4 days"; "7 日間", "10 秒"."""
    for size, english, japanese in ((86400, "day", "日"), (3600, "hour", "時間"), (60, "minute", "分")):
        if seconds % size == 0 and seconds:
            count = seconds // size
            return f"{count} {japanese}" if language == "ja" else f"{count} {english}{'s' * (count != 1)}"
    return f"{seconds} 秒" if language == "ja" else f"{seconds} seconds"


@cache
def environment() -> Environment:
    """Where the templates are; a value that they name and nobody gave is an error."""
    made = Environment(
        loader=FileSystemLoader(CONTENT),
        autoescape=select_autoescape(("html.j2",), default_for_string=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["duration"] = duration
    return made


@cache
def words() -> dict[str, Any]:
    """The words of the pages, by language."""
    return tomllib.loads((CONTENT / "words.toml").read_text())


def base_url(settings: Settings) -> str:
    """Of the repository, without a slash at its end."""
    return settings.repository.base_url.rstrip("/")


def report_url(settings: Settings) -> str:
    """Where people report problems: by TLS where the settings say so; without a slash at its end."""
    return settings.repository.report_url or base_url(settings)


def day(at: datetime) -> str:
    """ "2026-11-30"."""
    return at.strftime("%Y-%m-%d")
