"""The commands of `acme-server documents`; they ask by operations/desk/document_calls.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.errors import ConfigurationError, Refused
from operations.commands.command import command, group, say
from operations.commands.options import Given, Reporting
from operations.screens import moment
from repo_static.documents.kinds import Document
from repo_static.rendering import LANGUAGES

application = group("documents", "The CP/CPS and the terms: drafts, approval, publication (CPS 1.5.4).")

Which = Annotated[Document, typer.Option("--document", help="Which document.")]
Version = Annotated[str, typer.Argument(help="The version, like 1.1.")]
Language = Annotated[str, typer.Option(help="en or ja.")]


@command(application, "list")
def list_(given: Reporting) -> None:
    """List every version: approved by whom and when, published, in effect from when."""
    from operations.desk import document_calls

    found = document_calls.list_all(given.directory())
    if given.json:
        say(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        return
    for each in found.versions:
        state = (
            f"published {moment(each.published_at)}, in effect from {moment(each.effective_at)}"
            if each.published_at
            else f"not published: acme-server documents publish {each.version} --document {each.document}"
        )
        say(f"{each.document} {each.version}  {state}")
        say(f"    approved {moment(each.approved_at)} by {each.approved_by}; minutes: {each.minutes}")
        say(f"    change   {each.summary_en} / {each.summary_ja}")
        say(f"    sha256   {each.sha256}")
    if found.trouble:
        say(f"ISSUANCE HALTED: {found.trouble}")
    else:
        say(found.says or "practice and documents agree")


@command(application)
def draft(
    given: Reporting,
    document: Which = Document.CP_CPS,
    out: Annotated[Path | None, typer.Option(help="Write the texts (en, ja) into this directory.")] = None,
) -> None:
    """Make the text that the settings state, judge it, and say how far it is from the published one.

    Changes nothing in the CA, and needs none that runs.
    """
    from repo_static.documents import difference, lint, text

    settings = given.settings()
    version = document.version(settings)
    drafts = text.drafts(document, settings)
    faults = [*lint.findings(document, drafts), *_unsigned(given, document)]
    changed = {
        language: len(difference.hunks(_published(given, document, language), drafts[language]))
        for language in drafts
    }
    digest = text.digest(drafts).hex()
    written = []
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for language, content in drafts.items():
            path = out / Path(document.file(version, language, "md")).name
            path.write_text(content, encoding="utf-8")
            written.append(str(path))
    if given.json:
        found = {
            "document": document,
            "version": version,
            "sha256": digest,
            "findings": faults,
            "changed_paragraphs": changed,
            "files": written,
        }
        say(json.dumps(found, indent=2, ensure_ascii=False))
        return
    say(f"{document} {version}, as these settings state it")
    say(f"    sha256    {digest}")
    say(f"    changed   {changed['en']} paragraphs (English), {changed['ja']} (Japanese): documents diff")
    say(f"    findings  {len(faults) or 'none'}")
    for each in (*faults, *(f"wrote {path}" for path in written)):
        say(f"    {each}")


@command(application)
def diff(given: Given, document: Which = Document.CP_CPS) -> None:
    """Show what the settings would change in the newest published version, as a unified diff."""
    from repo_static.documents import difference, text

    for language, new in text.drafts(document, given.settings()).items():
        old = _published(given, document, language)
        found = difference.unified(old, new, f"published.{language}.md", f"draft.{language}.md")
        say(found.rstrip("\n") or f"the published text in {language} says what these settings say")


@command(application)
def show(
    given: Given, version: Version, document: Which = Document.CP_CPS, language: Language = "en"
) -> None:
    """Print a published version in Markdown, from the public tree."""
    from operations.desk import document_calls

    _language(language)
    say(document_calls.public_text(given.directory(), document, version, language).rstrip("\n"))


@command(application)
def approve(
    given: Reporting,
    version: Version,
    by: Annotated[str, typer.Option(help="Who approved: the committee, and its chair.")],
    minutes: Annotated[str, typer.Option(help="Where the decision is written down.")],
    summary_en: Annotated[str, typer.Option(help="What changed and why, for the change log.")],
    summary_ja: Annotated[str, typer.Option(help="The same in Japanese.")],
    sha256: Annotated[str, typer.Option(help="Of the drafts that were read, as `draft` says it.")],
    document: Which = Document.CP_CPS,
) -> None:
    """Record that the committee approved what the settings state (BR 2.2; CPS 1.5.4).

    Publishes nothing yet.  Name the new settings with --config while the CA runs by the old ones.
    """
    from operations.desk import document_calls

    document_calls.approve(
        given.directory(),
        document,
        version,
        given.settings(),
        sha256,
        by,
        minutes,
        summary_en,
        summary_ja,
    )
    if given.json:
        say(json.dumps({"document": document, "version": version, "sha256": sha256}))
    else:
        say(f"approved: {document} {version}")
        say(f"next: acme-server documents publish {version} --document {document}")


@command(application)
def publish(
    given: Reporting,
    version: Version,
    document: Which = Document.CP_CPS,
    effective: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="The day (UTC) from which it binds; now if not given.")
    ] = "",
) -> None:
    """Publish an approved version, before the practice that it describes changes (CPS 2.3, 9.12.2)."""
    from operations.desk import document_calls

    done = document_calls.publish(given.directory(), document, version, _day(effective))
    if given.json:
        say(json.dumps(asdict(done)))
        return
    for name in done.files:
        say(f"published {name}")
    if done.trouble:
        say(f"still in the way of issuance: {done.trouble}")


@command(application)
def pdf(given: Given, version: Version, document: Which = Document.CP_CPS) -> None:
    """Print a published version as PDF, in both languages, and publish that, too.

    With WeasyPrint or Chromium, whichever this machine has; the CA itself starts neither.
    """
    from operations.desk import document_calls
    from operations.documents import printing

    directory, base = given.directory(), given.settings().repository.base_url
    program = printing.printer()
    for language in LANGUAGES:
        say(f"printing {document} {version} ({language}) with {program}")
        content = printing.printed(directory, document, version, language, base, program)
        done = document_calls.add_pdf(directory, document, version, language, content)
        say(f"published {done.files[0]}")


def _unsigned(given: Given, document: Document) -> list[str]:
    """That a key of the manifest is stated which does not sign."""
    from repo_static.manifest import signature, verify

    pins = given.settings().repository.manifest_pins if document is Document.CP_CPS else ()
    try:
        verify.must_be_signed_by(given.directory().repository, pins)
    except signature.NotSigned as error:
        return [str(error)]
    return []


def _published(given: Given, document: Document, language: str) -> str:
    from operations.desk import document_calls
    from repo_static.documents import text

    found = document_calls.public_text(given.directory(), document, "", language)
    return text.draft_of(found, language) if found else ""


def _language(language: str) -> None:
    if language not in LANGUAGES:
        raise Refused("document.language", f"--language {language!r}: the documents are in en and ja")


def _day(text: str) -> int:
    if not text:
        return 0
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ConfigurationError(f"--effective {text!r} is no day: write it like 2026-12-01") from None
