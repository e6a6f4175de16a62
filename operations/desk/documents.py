"""`acme-server documents`: the CP/CPS and the terms from a draft to publication; whether the CA may issue.

The command line makes the drafts of the configuration that it is given, so that a committee reads and
approves them while the CA still runs by the old one.  The app records, publishes, and compares: what it runs
with must be what is approved, published and in effect.  Where it is not, a CA in production issues nothing;
status, revocation and the repository go on.  Elsewhere nobody is asked (docs/adr/0038).

Must never: publish without a recorded approval.

CPS 1.5.4, 2.3, 9.12; BR 2.2; requirements 1.05, 1.08.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from core.clock import Clock
from core.database import Database, Transaction
from core.errors import HaltIssuance, Refused
from core.rpc import RpcServer
from core.settings import Settings
from operations.desk.document_calls import (
    APPROVE,
    LIST,
    PDF,
    PUBLISH,
    ApproveRequest,
    Done,
    ListRequest,
    Page,
    PdfRequest,
    PublishRequest,
    Standing,
)
from operations.documents import approvals
from operations.documents.agreement import Agreement
from operations.documents.approvals import NOBODY, Approval
from operations.documents.printing import MAX_OCTETS
from repo_static.documents import editions, text
from repo_static.documents.kinds import Document
from repo_static.rendering import LANGUAGES
from repo_static.store import NotPublished, Store

_FIRST = {
    "en": "First version. Published without a committee, because this CA is not in production.",
    "ja": "初版。本番の認証局ではないため、運営会議によらず公開。",
}
_LATER = {
    "en": "What the configuration says. Published without a committee, because this CA is not in production.",
    "ja": "設定の内容を反映。本番の認証局ではないため、運営会議によらず公開。",
}

_log = logging.getLogger(__name__)


class Documents:
    """The app's side."""

    def __init__(self, settings: Settings, store: Store, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._database = database
        self._clock = clock
        self._drafts = {document: text.drafts(document, settings) for document in Document}
        self._agreement = Agreement(settings, self._drafts)
        self.on_change: Callable[[], Awaitable[None]] = _nothing

    async def start(self) -> None:
        """Publish what was approved and is not public (a crash, a restored backup); tell what is wrong.

        Outside production the version of the settings is approved by nobody, if it is new.
        """
        for document in Document:
            version = document.version(self._settings)
            if not self._settings.deployment.production:
                unit = partial(self._try_out, document=document, version=version)
                await self._database.write(unit, at_any_time=True)
            try:
                await self._write(document)
            except NotPublished as error:
                _log.error("%s (the setting is %s)", error, document.setting)
        self._agreement.read(self._database.reader)
        now = self._clock.latest()  # status and revocations are served at any hour: a start needs no clock
        if trouble := self._agreement.trouble(now):
            level = logging.CRITICAL if self._settings.deployment.production else logging.ERROR
            _log.log(level, "%s", trouble)
        for sentence in self._agreement.review(now):
            _log.warning("%s", sentence)

    @property
    def halted(self) -> str:
        """Why nothing is issued; "" when documents and practice agree."""
        try:
            return self.trouble(self._clock.now())
        except HaltIssuance as error:
            return str(error)

    @property
    def _says(self) -> str:
        try:
            return self._agreement.says(self._clock.now())
        except HaltIssuance as error:
            return str(error)

    def trouble(self, now: int) -> str:
        """Why nothing is issued at `now`; "" when practice and documents agree, or outside production."""
        return self._agreement.trouble(now) if self._settings.deployment.production else ""

    def require(self, now: int) -> None:
        """Raises `HaltIssuance` where what this CA does is not what it has published."""
        if trouble := self.trouble(now):
            raise HaltIssuance(trouble)

    def serve(self, answering: RpcServer) -> None:
        """Add the app's side to the operator's socket."""

        async def page(request: ListRequest) -> Page:
            reader = self._database.reader
            found = (each for document in Document for each in approvals.every(reader, document))
            return Page(tuple(_standing(each) for each in found), self.halted, self._says)

        async def approve(request: ApproveRequest) -> Done:
            drafts = {"en": request.english, "ja": request.japanese}

            def unit(tx: Transaction) -> int:
                approval = Approval(
                    _document(request.document),
                    request.version,
                    _hex(request.sha256),
                    drafts,
                    tx.now,
                    request.by,
                    request.minutes,
                    {"en": request.summary_en, "ja": request.summary_ja},
                    None,
                    None,
                )
                approvals.approve(tx, approval, actor=f"operator {request.actor}")
                return tx.now

            now = await self._database.write(unit)
            self._agreement.read(self._database.reader)
            return Done((), self.trouble(now))

        async def publish(request: PublishRequest) -> Done:
            document = _document(request.document)

            def unit(tx: Transaction) -> int:
                approval = approvals.by_version(tx, document, request.version)
                if approval is not None and editions.is_public(self._store, document, request.version):
                    raise Refused(
                        "document.public",
                        f"{document} {request.version} is public already, and its text stays: give the new "
                        f"text a new version ({document.setting})",
                    )
                effective = request.effective_at or tx.now
                actor = f"operator {request.actor}"
                approvals.publish(tx, document, request.version, effective, actor=actor)
                return tx.now

            now = await self._database.write(unit)
            self._agreement.read(self._database.reader)
            files = await self._write(document)
            await self.on_change()
            return Done(tuple(files), self.trouble(now))

        async def pdf(request: PdfRequest) -> Done:
            document = _document(request.document)
            name = document.file(request.version, request.language, "pdf")
            if not request.content.startswith(b"%PDF-") or len(request.content) > MAX_OCTETS:
                raise Refused("document.pdf", f"that is no PDF of at most {MAX_OCTETS} octets")

            def unit(tx: Transaction) -> None:
                approval = approvals.by_version(tx, document, request.version)
                if approval is None or approval.published_at is None or request.language not in LANGUAGES:
                    raise Refused("document.unknown", f"{name} is of nothing that is published")
                if self._store.read(name) is not None:
                    raise Refused("document.public", f"{name} is public already, and stays")
                digest = hashlib.sha256(request.content).hexdigest()
                tx.audit("document.pdf", f"operator {request.actor}", {"name": name, "sha256": digest})

            await self._database.write(unit)
            self._store.add(name, request.content)
            return Done((name, *await self._write(document)), self.halted)

        answering.add(LIST, page)
        answering.add(PDF, pdf)
        answering.add(APPROVE, approve)
        answering.add(PUBLISH, publish)

    async def _write(self, document: Document) -> list[str]:
        found = approvals.editions(self._database.reader, document)
        # In a thread: dozens of versions take seconds to draw, and subscribers wait for this loop.
        return await asyncio.to_thread(editions.publish, self._store, document, found, self._settings)

    def _try_out(self, tx: Transaction, document: Document, version: str) -> None:
        if approvals.by_version(tx, document, version) is not None:
            return
        if editions.is_public(self._store, document, version):  # by software without this record
            _log.error("%s %s is public without a record of its approval", document, version)
            return
        drafts = self._drafts[document]
        summary = _LATER if approvals.every(tx, document) else _FIRST
        approval = Approval(
            document, version, text.digest(drafts), drafts, tx.now, NOBODY, NOBODY, summary, None, None
        )
        try:
            approvals.approve(tx, approval, actor="system")
            approvals.publish(tx, document, version, tx.now, actor="system")
        except Refused as error:
            _log.error("%s %s is not published: %s", document, version, error)


async def _nothing() -> None:
    """Until somebody wants to know."""


def _standing(approval: Approval) -> Standing:
    return Standing(
        approval.document,
        approval.version,
        approval.digest.hex(),
        approval.approved_at,
        approval.approved_by,
        approval.minutes,
        approval.summary["en"],
        approval.summary["ja"],
        approval.published_at or 0,
        approval.effective_at or 0,
    )


def _document(name: str) -> Document:
    try:
        return Document(name)
    except ValueError:
        raise Refused("document.unknown", f"{name!r} is none of {', '.join(Document)}") from None


def _hex(text_: str) -> bytes:
    try:
        return bytes.fromhex(text_)
    except ValueError:
        raise Refused("document.digest", "--sha256 is no hexadecimal number") from None
