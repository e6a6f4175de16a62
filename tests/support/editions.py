"""Published versions of the documents, as the record of approvals would tell of them."""

from __future__ import annotations

from dataclasses import replace

from core.settings import Settings
from repo_static.documents import editions
from repo_static.documents.editions import Edition
from repo_static.documents.kinds import Document
from repo_static.documents.text import drafts
from repo_static.store import Store

DAY = 86400
APPROVED = 1_795_392_000
"""2026-11-23."""


def edition(settings: Settings, number: int = 0, document: Document = Document.CP_CPS) -> Edition:
    """What `settings` say, the `number`-th version; each is published a month after the one before."""
    at = APPROVED + 30 * DAY * number
    return Edition(
        document=document,
        version=document.version(settings),
        drafts=drafts(document, settings),
        approved_at=at,
        approved_by="the committee",
        minutes=f"2026-{number}",
        summary={"en": f"Change {number} & its reason.", "ja": f"変更 {number} とその理由。"},
        published_at=at + DAY,
        effective_at=at + 7 * DAY,
    )


def two_versions(store: Store, settings: Settings) -> None:
    """Publish two versions of each document: version 2.0 has another CAA name."""
    ca = replace(settings.ca, cps_version="2.0", terms_version="2.0", caa_identities=("b.example",))
    later = replace(settings, ca=replace(ca, contact="mailto:other@ca.example"))
    for document in Document:
        both = [edition(each, number, document) for number, each in enumerate((settings, later))]
        editions.publish(store, document, both, later)
