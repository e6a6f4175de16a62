"""Whether what this CA does is what its documents say: approved, published and in effect.

Asked before every issuance, so it judges what it has read before; the app, the only writer, lets it read
again after each approval and publication.

Must never: take a text for approved that differs in an octet, or, in production, that nobody approved.

CPS 1.5.4, 2.3; BR 2.2; Mozilla RSP 3.3 (a new version at least every 365 days).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from core.database import Rows
from core.settings import Settings
from operations.documents.approvals import NOBODY, Standing, standing
from repo_static.documents import text
from repo_static.documents.kinds import Document
from repo_static.documents.text import Texts

SWITCH_WITHIN = 86400
"""Seconds after a newer version took effect in which the CA may run by the one before (CP/CPS 1.5.4)."""

REVIEW = 335 * 86400
"""Seconds after which the next version is asked for, a month before the 365 days end."""


class Agreement:
    """Of the drafts that the settings make and the record of approvals."""

    def __init__(self, settings: Settings, drafts: Mapping[Document, Texts]) -> None:
        self._stated = {document: document.version(settings) for document in drafts}
        self._digests = {document: text.digest(texts) for document, texts in drafts.items()}
        self._production = settings.deployment.production
        self._known: Mapping[Document, Sequence[Standing]] = dict.fromkeys(drafts, ())

    def read(self, rows: Rows) -> None:
        """Take in the record as it is now."""
        self._known = {document: standing(rows, document) for document in self._digests}

    def trouble(self, now: int) -> str:
        """What differs at `now` (POSIX seconds), with the remedy; "" when nothing does."""
        return next((found for document in self._known if (found := self._of(document, now))), "")

    def review(self, now: int) -> list[str]:
        """Which documents grow old."""
        return [
            f"{document} {newest.version} was published {(now - newest.published_at) // 86400} days ago, and "
            f"at most 365 may pass: review it, and set {document.setting} to a new version"
            for document, known in self._known.items()
            if (newest := _newest(known)) is not None and now - newest.published_at >= REVIEW
        ]

    def says(self, now: int) -> str:
        """All that a person should hear of it, whether or not it halts issuance; "" when all is well."""
        return "; ".join(filter(None, (self.trouble(now), *self.review(now))))

    def _of(self, document: Document, now: int) -> str:
        version, digest = self._stated[document], self._digests[document]
        found = next((each for each in self._known[document] if each.version == version), None)
        if found is None:
            return (
                f"{document} {version}, which states what this CA does, is not approved: read it with "
                f"`acme-server documents draft --document {document} --out DIR`, then record the decision by "
                f"`acme-server documents approve {version} --document {document} --sha256 {digest.hex()} "
                "--by NAME --minutes REFERENCE --summary-en TEXT --summary-ja TEXT`"
            )
        if found.digest != digest:
            return (
                f"what this CA does is not what {document} {version} says (`acme-server documents diff "
                f"--document {document}` shows where): set the settings, or the software, back; or set "
                f"{document.setting} to a new version, have it approved and published, and start the CA again"
            )
        if self._production and found.approved_by == NOBODY:
            return (
                f"{document} {version} was published without a committee, before this CA was in production: "
                f"set {document.setting} to a new version, have it approved and published, and start again"
            )
        if not found.published_at:
            return (
                f"{document} {version} is approved but not published: `acme-server documents publish "
                f"{version} --document {document}`"
            )
        if now < found.effective_at:
            return (
                f"{document} {version} takes effect at {_minute(found.effective_at)} UTC: start with the "
                "settings of the version before, or wait"
            )
        newest = _newest(self._known[document])
        if newest is not None and newest.version != version and now >= newest.effective_at + SWITCH_WITHIN:
            return (
                f"{document} {newest.version} is in effect, but this CA runs by {version}: start it with the "
                f"settings that {newest.version} was made of"
            )
        return ""


def _newest(known: Sequence[Standing]) -> Standing | None:
    published = [each for each in known if each.published_at]
    return published[-1] if published else None


def _minute(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
