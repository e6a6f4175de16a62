"""Prints a published version as PDF, with a program that the operator's machine has: WeasyPrint or Chromium.

The CA needs no such program and starts none: the operator's command prints what is public, and hands the
file to the app, which adds it to the public tree once.

Must never: print what is not public; fetch anything from a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.data_directory import DataDirectory
from core.errors import ConfigurationError, Refused
from repo_static.documents.kinds import Document
from repo_static.store import Store

PATIENCE = 180
"""Seconds for one document; a busy machine takes twenty."""

MAX_OCTETS = 16 * 1024 * 1024

PRINTERS: Mapping[str, Sequence[str]] = {
    "weasyprint": ("{page}", "{pdf}"),
    "chromium": (
        "--headless",
        "--disable-gpu",
        "--no-sandbox",  # root cannot have one, and the page is our own
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--no-pdf-header-footer",
        "--print-to-pdf={pdf}",
        "file://{page}",
    ),
}
"""Programs and their arguments, the preferred one first: WeasyPrint writes the same octets each time."""


def printer() -> str:
    """The program to print with.  Raises `ConfigurationError` where none is installed."""
    found = next((path for name in PRINTERS if (path := shutil.which(name))), None)
    if found is None:
        raise ConfigurationError(
            f"no program here prints PDF: install one of {', '.join(PRINTERS)}, or do without; HTML and "
            "Markdown are public"
        )
    return found


def printed(
    data: DataDirectory, document: Document, version: str, language: str, base_url: str, program: str
) -> bytes:
    """The PDF of a published version.  Raises `Refused` when it is not public or cannot be printed."""
    store = Store(data.repository)
    page, style = store.read(document.file(version, language, "html")), store.read("style.css")
    if page is None or style is None:
        raise Refused(
            "document.unknown", f"{document} {version} is not published: acme-server documents list"
        )
    text = page.decode().replace('href="/style.css"', 'href="style.css"')
    text = text.replace('href="/', f'href="{base_url.rstrip("/")}/')  # a PDF is read anywhere
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        (directory / "page.html").write_text(text, encoding="utf-8")
        (directory / "style.css").write_bytes(style)
        names = {"page": str(directory / "page.html"), "pdf": str(directory / "page.pdf")}
        arguments = [each.format(**names) for each in PRINTERS[Path(program).name]]
        try:
            # The date in the file is that of the version's files, so that printing again gives the same.
            epoch = str(int((store.root / document.file(version, language, "md")).stat().st_mtime))
            subprocess.run(
                [program, *arguments],
                env={**os.environ, "SOURCE_DATE_EPOCH": epoch, "HOME": place},
                check=True,
                capture_output=True,
                timeout=PATIENCE,
            )
            return (directory / "page.pdf").read_bytes()
        except (subprocess.SubprocessError, OSError) as error:
            said = getattr(error, "stderr", b"") or b""
            raise Refused(
                "document.pdf", f"{program} printed nothing: {error} {said.decode(errors='replace')[-500:]}"
            ) from error
