"""What the commands of `acme-server documents` ask the app, and their own side of it.

Must never: let the app guess what was meant: the texts themselves travel.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import caller
from core.data_directory import DataDirectory
from core.errors import Refused
from core.rpc import Method
from core.settings import Settings
from operations.desk import local_api
from repo_static.documents import text
from repo_static.documents.kinds import Document
from repo_static.manifest import verify
from repo_static.store import Store


@dataclass(frozen=True, slots=True)
class ListRequest:
    """All documents."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A version as it stands; times are POSIX seconds, 0 for not yet."""

    document: str
    version: str
    sha256: str
    approved_at: int
    approved_by: str
    minutes: str
    summary_en: str
    summary_ja: str
    published_at: int
    effective_at: int


@dataclass(frozen=True, slots=True)
class Page:
    """All versions; `trouble` says why nothing is issued, "" when all is well.

    `says` tells besides what halts nothing: a practice that differs outside production, a document's age.
    """

    versions: tuple[Standing, ...]
    trouble: str
    says: str = ""


@dataclass(frozen=True, slots=True)
class ApproveRequest:
    """`sha256` names the drafts that the committee read, in hex."""

    document: str
    version: str
    english: str
    japanese: str
    sha256: str
    by: str
    minutes: str
    summary_en: str
    summary_ja: str
    actor: str


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """`effective_at` in POSIX seconds; 0 for now."""

    document: str
    version: str
    effective_at: int
    actor: str


@dataclass(frozen=True, slots=True)
class PdfRequest:
    """A published version, printed."""

    document: str
    version: str
    language: str
    content: bytes
    actor: str


@dataclass(frozen=True, slots=True)
class Done:
    """The public files that are new or changed, and what still stands in the way of issuance."""

    files: tuple[str, ...]
    trouble: str


LIST = Method("documents-list", ListRequest, Page)
APPROVE = Method("documents-approve", ApproveRequest, Done)
PUBLISH = Method("documents-publish", PublishRequest, Done)
PDF = Method("documents-pdf", PdfRequest, Done)


def list_all(data: DataDirectory, timeout: float = local_api.TIMEOUT) -> Page:
    """The command line's side.  Raises `Refused`, or `TransientError` when no app runs here."""
    return local_api.call(data, LIST, ListRequest(), timeout)


def approve(
    data: DataDirectory,
    document: Document,
    version: str,
    settings: Settings,
    sha256: str,
    by: str,
    minutes: str,
    summary_en: str,
    summary_ja: str,
) -> Done:
    """The command line's side: approve what `settings` say.

    Raises as `list_all`, or `NotSigned` where a key of the manifest is stated that does not sign.
    """
    stated = document.version(settings)
    if stated != version:
        raise Refused(
            "document.version",
            f"these settings state {document} {stated}, not {version}: set {document.setting}, or name the "
            "--config that states it",
        )
    if document is Document.CP_CPS:
        verify.must_be_signed_by(data.repository, settings.repository.manifest_pins)
    drafts = text.drafts(document, settings)
    english, japanese, actor = drafts["en"], drafts["ja"], caller.claimed()
    request = ApproveRequest(
        document, version, english, japanese, sha256, by, minutes, summary_en, summary_ja, actor
    )
    return local_api.call(data, APPROVE, request)


def publish(data: DataDirectory, document: Document, version: str, effective_at: int) -> Done:
    """The command line's side.  Raises as `list_all`."""
    request = PublishRequest(document, version, effective_at, caller.claimed())
    return local_api.call(data, PUBLISH, request)


def add_pdf(data: DataDirectory, document: Document, version: str, language: str, content: bytes) -> Done:
    """The command line's side.  Raises as `list_all`."""
    return local_api.call(data, PDF, PdfRequest(document, version, language, content, caller.claimed()))


def public_text(data: DataDirectory, document: Document, version: str, language: str) -> str:
    """A published version, from the public tree; `version` "" for the newest, which may be none: "".

    Raises `Refused` for a version that is not there.
    """
    name = document.file(version, language, "md") if version else f"{document.directory}/latest.{language}.md"
    found = Store(data.repository).read(name)
    if found is None and version:
        raise Refused(
            "document.unknown", f"{document} {version} is not published: acme-server documents list"
        )
    return (found or b"").decode()
