"""The templates and words of these pages, on top of the frame that they share with the repository.

Must never: let a value that a stranger sent become markup; let a page be kept by a cache.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import ChoiceLoader, Environment, FileSystemLoader

from core.settings import Settings
from repo_static import rendering

LANGUAGES = rendering.LANGUAGES

_CONTENT = Path(__file__).parent / "content"


def page(
    template: str, language: str, settings: Settings, *, status: int = 200, **values: Any
) -> web.Response:
    """The answer with the page that a template makes."""
    prefix = "" if language == "en" else f"/{language}"
    text = (
        _environment()
        .get_template(template)
        .render(language=language, prefix=prefix, t=words(language), settings=settings, **values)
    )
    return web.Response(
        status=status, text=text, content_type="text/html", headers={"Cache-Control": "no-store"}
    )


def refused(
    language: str, settings: Settings, word: str, place: str, status: int, url: str = ""
) -> web.Response:
    """The answer that nothing was taken, and why; `url` is where it would be, "" for the page `place`."""
    return page("refused.html.j2", language, settings, status=status, word=word, place=place, url=url)


def data(found: Any, *, status: int = 200) -> web.Response:
    """The answer for programs."""
    return web.json_response(found, status=status, headers={"Cache-Control": "no-store"})


def wants_data(request: web.Request) -> bool:
    """Whether it is a program that asks: ?format=json, or an Accept that names JSON and no HTML."""
    accept = request.headers.get("Accept", "")
    return request.query.get("format") == "json" or ("json" in accept and "html" not in accept)


def instant(at: int | None) -> str:
    """ "2026-11-30T14:20:00Z", "" for None."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def words(language: str) -> dict[str, Any]:
    """The frame's words and those of these pages."""
    own = tomllib.loads((_CONTENT / "words.toml").read_text())
    return {**rendering.words()[language], **own[language]}


@cache
def _environment() -> Environment:
    shared = rendering.environment()
    loaders = [FileSystemLoader(_CONTENT), FileSystemLoader(rendering.CONTENT)]
    made = shared.overlay(loader=ChoiceLoader(loaders))
    made.filters["instant"] = instant
    made.filters["minute"] = lambda at: instant(at)[:16].replace("T", " ")
    return made
