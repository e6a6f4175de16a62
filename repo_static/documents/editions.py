"""The versions of a document as public files: Markdown, HTML, differences, a list, and a name that stays.

Markdown is the document.  HTML is drawn from it, and may be drawn anew with a better look.

Must never: change the Markdown of a version that is public; publish a version that was not approved.

BR 2.2; Mozilla RSP 3.3; CP/CPS 2.2, 2.3, 9.12.2.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from core.settings import Settings
from repo_static.documents import difference
from repo_static.documents.kinds import VERSION, Document
from repo_static.documents.text import Change, Texts, whole
from repo_static.rendering import CONTENT, LANGUAGES, day, render
from repo_static.store import NotPublished, Store


@dataclass(frozen=True, slots=True)
class Edition:
    """A published version, as its approval was recorded; times are POSIX seconds."""

    document: Document
    version: str
    drafts: Texts
    approved_at: int
    approved_by: str
    minutes: str
    summary: Texts
    published_at: int
    effective_at: int


def publish(store: Store, document: Document, editions: Sequence[Edition], settings: Settings) -> list[str]:
    """Write all versions, given in the order of their publication; the names of the files that changed.

    Raises: `NotPublished` when a version is public with another text, or when a newer one is public that
    `editions` lack (a register that was restored): what is public stays.
    """
    texts = [_texts(editions[: number + 1]) for number in range(len(editions))]
    changed = []
    for edition, text in zip(editions, texts, strict=True):
        for language in LANGUAGES:
            name = document.file(edition.version, language, "md")
            changed += [name] if store.add(name, text[language].encode()) else []
    forgotten = _forgotten(store, document, editions)
    if forgotten and _number(forgotten[-1]) > max((_number(each.version) for each in editions), default=()):
        raise NotPublished(
            f"{document} {forgotten[-1]} is public, but the register does not know of it (it was restored "
            "from an older backup, or a release that kept no such records published it): give what is in "
            "force now a higher version, and have it approved"
        )
    pages = dict(_pages(store, document, editions, texts, settings))
    return changed + [name for name, page in pages.items() if store.replace(name, page.encode())]


def is_public(store: Store, document: Document, version: str) -> bool:
    """Whether a version has been published, by whatever software."""
    return store.read(document.file(version, "en", "md")) is not None


def _without_record(store: Store, document: Document, editions: Sequence[Edition]) -> list[dict[str, Any]]:
    """Their texts tell their dates; the list only says that they are there."""
    nothing = {"published": "–", "effective": "–", "summary": "", "before": "", "current": False, "pdf": ()}
    return [{"version": each, **nothing} for each in reversed(_forgotten(store, document, editions))]


def _forgotten(store: Store, document: Document, editions: Sequence[Edition]) -> list[str]:
    """The versions that are public and not among `editions`, the highest last."""
    start, end = document.file("", "en", "md").split(".en.md")[0], ".en.md"
    public = (
        name.removeprefix(start).removesuffix(end)
        for name in store.names(document.directory)
        if name.startswith(start) and name.endswith(end)
    )
    known = {each.version for each in editions}
    return sorted((each for each in public if VERSION.fullmatch(each) and each not in known), key=_number)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _texts(editions: Sequence[Edition]) -> Texts:
    """The text of the last one of `editions`, all that came before in its change log."""
    newest = editions[-1]
    changes = [Change(each.version, each.effective_at, each.summary) for each in reversed(editions)]
    return {
        language: whole(newest.drafts[language], language, changes, newest.published_at)
        for language in LANGUAGES
    }


def _pages(
    store: Store, document: Document, editions: Sequence[Edition], texts: Sequence[Texts], settings: Settings
) -> Iterator[tuple[str, str]]:
    directory = document.directory
    for edition, text in zip(editions, texts, strict=True):
        for language in LANGUAGES:
            yield (
                document.file(edition.version, language, "html"),
                _page(document, edition.version, language, text[language], settings),
            )
    for (older, old), (newer, new) in pairwise(zip(editions, texts, strict=True)):
        for language in LANGUAGES:
            span = f"{older.version}-{newer.version}"
            names = (document.file(each.version, language, "md") for each in (older, newer))
            yield (
                f"{directory}/changes-{span}.{language}.txt",
                difference.unified(old[language], new[language], *names),
            )
            yield (
                f"{directory}/changes-{span}.{language}.html",
                _render(
                    "difference.html.j2",
                    language,
                    settings=settings,
                    document=document,
                    older=older.version,
                    newer=newer.version,
                    hunks=difference.hunks(old[language], new[language]),
                ),
            )
    if editions:
        for language in LANGUAGES:
            newest = texts[-1][language]
            page = _page(document, editions[-1].version, language, newest, settings)
            yield f"{directory}/latest.{language}.md", newest
            yield f"{directory}/latest.{language}.html", page
            if language == LANGUAGES[0]:
                yield f"{directory}/latest.html", page
    for language, place in zip(LANGUAGES, ("", "ja/"), strict=True):
        listed = [
            {
                "version": each.version,
                "published": _day(each.published_at),
                "effective": _day(each.effective_at),
                "approved": _day(each.approved_at),
                "summary": each.summary[language],
                "before": older.version if older else "",
                "current": each.version == document.version(settings),
                "pdf": [
                    code
                    for code in LANGUAGES
                    if store.mark(document.file(each.version, code, "pdf")) is not None
                ],
            }
            for older, each in zip((None, *editions), editions, strict=False)
        ]
        yield (
            f"{place}{directory}/index.html",
            _render(
                "document-index.html.j2",
                language,
                settings=settings,
                document=document,
                documents=tuple(Document),
                names=_words()[language]["name"],
                versions=[*listed[::-1], *_without_record(store, document, editions)],
            ),
        )


def _page(document: Document, version: str, language: str, text: str, settings: Settings) -> str:
    # Raw HTML in the source stays text: the operator's settings are in it.
    drawn = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    # A table that is wider than a phone scrolls by itself, by the keyboard, too.
    region = (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{_words()[language]["table"]}"><table>'
    )
    body = Markup(drawn.replace("<table>", region).replace("</table>", "</table></div>"))
    return _render(
        "document.html.j2", language, settings=settings, document=document, version=version, body=body
    )


def _render(template: str, language: str, *, document: Document, **values: Any) -> str:
    words = _words()[language]
    name = words["name"][document]
    here = document.directory
    return render(template, language, document=document, here=here, d={**words, "name": name}, **values)


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads((CONTENT / "documents.toml").read_text(encoding="utf-8"))


def _day(at: int) -> str:
    return day(datetime.fromtimestamp(at, UTC))
