"""The versions of the CP/CPS as public files, each in Markdown and HTML and both languages, and their list.

Must never: change a version that is public.

BR 2.2; CP/CPS 2.2, 9.12.2.
"""

from __future__ import annotations

from datetime import UTC, datetime

from markdown_it import MarkdownIt
from markupsafe import Markup

from core.settings import Settings
from repo_static.documents.text import cp_cps
from repo_static.rendering import LANGUAGES, day, render
from repo_static.store import Store


def files(settings: Settings) -> list[tuple[str, str]]:
    """Name and text of each file of the version that the settings name."""
    version = settings.ca.cps_version
    documents = []
    for language in LANGUAGES:
        source = cp_cps(language, settings)
        # Raw HTML in the source stays text: the operator's settings are in it.
        body = Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(source))
        name = f"cps/cp-cps-{version}.{language}"
        documents.append((f"{name}.md", source))
        page = render("document.html.j2", language, settings=settings, version=version, body=body)
        documents.append((f"{name}.html", page))
    return documents


def index(store: Store, settings: Settings) -> str:
    """The page that lists every version, the newest first."""
    prefix, suffix = "cps/cp-cps-", ".en.md"
    versions = []
    for name in store.names("cps"):
        if name.startswith(prefix) and name.endswith(suffix):
            version = name.removeprefix(prefix).removesuffix(suffix)
            # Never rewritten, so the file's time is that of its publication.
            published = datetime.fromtimestamp((store.root / name).stat().st_mtime, UTC)
            current = version == settings.ca.cps_version
            versions.append({"version": version, "published": day(published), "current": current})
    versions.sort(key=lambda each: str(each["published"]), reverse=True)
    return render("cps-index.html.j2", "en", settings=settings, versions=versions)
