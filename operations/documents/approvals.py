"""The record of the documents' approvals, and the rules: nothing is published without one, and nothing twice.

Each act is in the audit log in its own transaction.

Must never: change what was approved.

CPS 1.5.3, 1.5.4, 9.10.1, 9.12.1; BR 2.2; requirements 1.05.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.database import Rows, Transaction
from core.errors import Refused
from repo_static.documents.editions import Edition
from repo_static.documents.kinds import VERSION, Document
from repo_static.documents.lint import findings
from repo_static.documents.text import digest

NOBODY = "nobody: this CA is not in production"
"""Who approves, and where it is written down, where a try-out starts without a question."""

MAX_WORDS = 1000
"""Characters of a name, a reference or a summary."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A row; times are POSIX seconds."""

    document: Document
    version: str
    digest: bytes
    drafts: Mapping[str, str]
    approved_at: int
    approved_by: str
    minutes: str
    summary: Mapping[str, str]
    published_at: int | None
    effective_at: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a version stands, without its texts; times are POSIX seconds, 0 for not yet."""

    version: str
    digest: bytes
    approved_by: str
    published_at: int
    effective_at: int


def approve(tx: Transaction, approval: Approval, *, actor: str) -> None:
    """Record an approval.  Raises `Refused`, and nothing is recorded."""
    document, version = approval.document, approval.version
    for what, text in (
        ("--by", approval.approved_by),
        ("--minutes", approval.minutes),
        ("--summary-en", approval.summary["en"]),
        ("--summary-ja", approval.summary["ja"]),
    ):
        if not text.strip() or len(text) > MAX_WORDS:
            raise Refused("document.words", f"{what} must say something, in 1 to {MAX_WORDS} characters")
    if not VERSION.fullmatch(version):
        raise Refused("document.version", f"{version!r} is no version: write numbers with dots, like 1.1")
    if by_version(tx, document, version) is not None:
        raise Refused(
            "document.approved",
            f"{document} {version} is approved already, and stays as it is: give the new text a new version "
            f"({document.setting})",
        )
    if approval.digest != digest(approval.drafts):
        raise Refused(
            "document.digest",
            f"the text has the SHA-256 {digest(approval.drafts).hex()}, not the one that was named: what was "
            "approved is not what these settings say; see acme-server documents diff",
        )
    if faults := findings(document, approval.drafts):
        raise Refused("document.lint", f"{len(faults)} findings, mend them first: {'; '.join(faults[:5])}")
    tx.execute(
        "INSERT INTO document_approvals (document, version, digest, english, japanese, approved_at,"
        " approved_by, minutes, summary_en, summary_ja) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            document.value,
            version,
            approval.digest,
            approval.drafts["en"],
            approval.drafts["ja"],
            approval.approved_at,
            approval.approved_by.strip(),
            approval.minutes.strip(),
            approval.summary["en"].strip(),
            approval.summary["ja"].strip(),
        ),
    )
    tx.audit("document.approved", actor, _detail(approval))


def publish(tx: Transaction, document: Document, version: str, effective: int, *, actor: str) -> None:
    """Record that an approved version is published now, in effect from `effective` (POSIX seconds) on.

    Raises `Refused`, and nothing is recorded.
    """
    approval = by_version(tx, document, version)
    if approval is None:
        raise Refused(
            "document.unapproved",
            f"{document} {version} has no recorded approval, and is not published without: "
            f"acme-server documents approve {version}",
        )
    if approval.published_at is not None:
        raise Refused("document.published", f"{document} {version} is published already")
    if effective < tx.now:
        raise Refused(
            "document.effective",
            "a version is published before it takes effect, not after: name a later --effective, or none",
        )
    tx.execute(
        "UPDATE document_approvals SET published_at = ?, effective_at = ? WHERE document = ? AND version = ?",
        (tx.now, effective, document.value, version),
    )
    tx.audit("document.published", actor, {**_detail(approval), "effective_at": effective})


def by_version(rows: Rows, document: Document, version: str) -> Approval | None:
    """One approval, published or not."""
    row = rows.one(
        "SELECT * FROM document_approvals WHERE document = ? AND version = ?", (document.value, version)
    )
    return None if row is None else _approval(row)


def every(rows: Rows, document: Document) -> list[Approval]:
    """In the order of their publication; those that wait for it last."""
    found = rows.all(
        "SELECT * FROM document_approvals WHERE document = ?"
        " ORDER BY published_at IS NULL, published_at, approved_at, version",
        (document.value,),
    )
    return [_approval(row) for row in found]


def standing(rows: Rows, document: Document) -> list[Standing]:
    """All versions as `every` orders them, without their texts."""
    found = rows.all(
        "SELECT version, digest, approved_by, published_at, effective_at FROM document_approvals"
        " WHERE document = ? ORDER BY published_at IS NULL, published_at, approved_at, version",
        (document.value,),
    )
    return [
        Standing(
            row["version"],
            bytes(row["digest"]),
            row["approved_by"],
            row["published_at"] or 0,
            row["effective_at"] or 0,
        )
        for row in found
    ]


def editions(rows: Rows, document: Document) -> list[Edition]:
    """What is published, in the order of publication."""
    return [
        Edition(
            each.document,
            each.version,
            each.drafts,
            each.approved_at,
            each.approved_by,
            each.minutes,
            each.summary,
            each.published_at,
            each.effective_at,
        )
        for each in every(rows, document)
        if each.published_at is not None and each.effective_at is not None
    ]


def _approval(row: Any) -> Approval:
    return Approval(
        Document(row["document"]),
        row["version"],
        bytes(row["digest"]),
        {"en": row["english"], "ja": row["japanese"]},
        row["approved_at"],
        row["approved_by"],
        row["minutes"],
        {"en": row["summary_en"], "ja": row["summary_ja"]},
        row["published_at"],
        row["effective_at"],
    )


def _detail(approval: Approval) -> dict[str, Any]:
    return {
        "document": approval.document.value,
        "version": approval.version,
        "sha256": approval.digest.hex(),
        "approved_by": approval.approved_by,
        "minutes": approval.minutes,
    }
