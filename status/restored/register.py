"""Notices that the register is older than what others have seen, and puts back what it has forgotten.

Looked at when the app starts, after the vault's journal was followed (signer/reconciliation.py), and whenever
a person brings something (operations/desk/reconcile.py):

    replay.py    the audit log's copy: every revocation, blocked key and CRL number after the backup
    public.py    what stands beside it: CRLs, OCSP answers, the manifest, the mark of the last app
    brought.py   what people bring: CRLs of a mirror, OCSP answers, manifests and their lists, certificates

What is certain is put back at once, and said loudly; what is not keeps a gap open (core/gaps.py), and so the
CA closed, until it is brought or a person answers for it.  All of it goes on while the clock stands back:
nothing here issues.

Must never: take a revocation back; close a gap for what might be.

CPS 5.7.2, 5.7.4; BR 4.9.9, 4.9.10, 4.10.1, 7.2 (CRLNumber rises across restores).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from core import gaps, register_mark, revocations
from core.audit_copy import AuditCopy
from core.clock import Clock
from core.database import Database, Rows, Transaction
from core.durable import sync_directory
from core.errors import CaError
from core.gaps import CERTIFICATES, RESTORED
from core.register_mark import Mark
from repo_static.store import Store
from status.crl.scopes import scopes
from status.ocsp.index.index import Index
from status.restored.brought import Brought, Taken
from status.restored.public import Public
from status.restored.put_back import PAGE
from status.restored.replay import judge, replay

__all__ = ["RestoredRegister", "Taken", "forgotten"]

_COPY_EVERY = 1
"""Seconds."""

# The vault's own certificates have a profile; whoever asked for these is not known any more.
_FORGOTTEN = (
    "FROM certificates c WHERE profile = '' AND request_id IS NULL"
    " AND state IN ('issued', 'precertified', 'lost')"
    " AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)"
)

_log = logging.getLogger(__name__)


class RestoredRegister:
    """One in the app process; `pins` as in brought.py.

    `marker` is a file by which a person says, before the start, that something was restored; `mark` the file
    of core/register_mark.py.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        copy: AuditCopy,
        index: Index,
        clock: Clock,
        *,
        marker: Path,
        mark: Path,
        pins: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._copy = copy
        self._clock = clock
        self._marker = marker
        self._mark_file = mark
        self._mark: Mark | None = None
        self._looked = False
        self.brought = Brought(database, store, pins)
        self._public = Public(database, store, index, self.brought)

    async def look(self) -> list[gaps.Gap]:
        """Put back what is certain; what is still missing."""
        reader = self._database.reader
        if self._marker.exists():
            await self._heed_the_marker()
        lost = self._copy.lost(reader)
        open_in_it: frozenset[str] = frozenset()
        if lost.records or lost.fault:
            open_in_it = await replay(self._database, lost)
        await self._public.look_at_the_mark(register_mark.read(self._mark_file), lost)
        await self._public.look_at_the_manifest(lost)
        await self._public.look_at_the_answers()
        await self._public.look_at_the_crls()
        await judge(self._database, lost, open_in_it)
        if lost.records or lost.fault:
            self._copy.turn(lost.common)
        missing = gaps.are_open(reader)
        for gap in missing:
            _log.critical("THE CA IS CLOSED: %s. %s", gap.missing, gap.remedy)
        self._looked = True  # from now on other processes may believe it, as far as its gaps let them
        self._note()
        return missing

    async def begin(self, who: str, at: int) -> None:
        """A person says that there was a restore: the CA is closed until one says that all is back."""

        def unit(tx: Transaction) -> None:
            gaps.raise_version(tx, revocations.version(tx) + gaps.MARGIN)
            gaps.found(
                tx,
                RESTORED,
                "an operator says that this register, and maybe all that stands beside it, was restored",
                "bring the newest CRL of every issuer and shard that mirrors have, then accept",
                {"by": who, "at": at},
            )

        await self._database.write(unit, at_any_time=True)

    async def accept(self, reason: str, actor: str) -> tuple[list[str], int]:
        """A person answers for what is missing now; the gaps closed, and the certificates revoked for it."""
        missing = gaps.are_open(self._database.reader)
        subjects = [gap.subject for gap in missing]
        revoked = await self._revoke_forgotten(reason, actor) if CERTIFICATES in subjects else 0

        def unit(tx: Transaction) -> list[str]:
            # What was found meanwhile is another thing than what he has answered for.
            closed = [
                gap.subject
                for gap in missing
                if gaps.close(tx, gap.subject, f"accepted: {reason}", actor=actor, seen=gap)
            ]
            if subjects != [CERTIFICATES]:
                _pass_over(tx)
            return closed

        if not subjects:
            return [], 0
        return await self._database.write(unit, at_any_time=True), revoked

    async def follow(self) -> None:
        """Keep the audit log's copy and the mark up to date, until cancelled."""
        while True:
            await self.follow_to_the_end()
            await asyncio.sleep(_COPY_EVERY)

    async def follow_to_the_end(self) -> None:
        """Copy all that has committed.  What cannot be copied is said, and waits in the database."""
        try:
            while self._copy.follow(self._database.reader):
                await asyncio.sleep(0)
            self._note()
        except (CaError, OSError) as error:
            _log.critical("the audit log is not copied: %s", error)

    def _note(self) -> None:
        reader = self._database.reader
        if self._looked and (self._mark is None or self._mark.is_in(reader)):  # else it was replaced just now
            self._mark = register_mark.write(self._mark_file, reader, self._clock.latest(), self._mark)

    async def _heed_the_marker(self) -> None:
        who = ""
        with contextlib.suppress(OSError):  # root's, who ran `reconcile --restored`
            who = self._marker.read_text("utf-8", "replace").strip()
        who = who or "a marker beside the audit log's copy"
        await self.begin(who, int(self._marker.stat().st_mtime))
        self._marker.unlink()
        sync_directory(self._marker.parent)

    async def _revoke_forgotten(self, reason: str, actor: str) -> int:
        cause = f"issued after the backup that the register was restored from: {reason}"
        count = 0
        while True:
            page = self._database.reader.all(f"SELECT serial {_FORGOTTEN} LIMIT ?", (PAGE,))
            if not page:
                return count

            serials = [row["serial"] for row in page]
            unit = partial(_revoke_all, serials=serials, cause=cause, actor=actor)
            await self._database.write(unit, at_any_time=True)
            count += len(serials)


def forgotten(rows: Rows) -> int:
    """How many certificates `accept` would revoke now."""
    row = rows.one(f"SELECT count(*) AS count {_FORGOTTEN}")
    return int(row["count"]) if row else 0


def _revoke_all(tx: Transaction, serials: list[bytes], cause: str, actor: str) -> None:
    for serial in serials:
        if revocations.of(tx, serial) is None:
            revocations.revoke(tx, serial, revocations.UNSPECIFIED, cause, actor=actor)


def _pass_over(tx: Transaction) -> None:
    """Go on far above whatever was used and is not known."""
    gaps.raise_version(tx, revocations.version(tx) + gaps.MARGIN)
    for scope in scopes(tx):
        row = tx.one(
            "SELECT coalesce(max(number), 0) AS n FROM crls WHERE issuer_id = ? AND shard = ?",
            (scope.issuer_id, scope.shard),
        )
        assert row is not None
        gaps.count_crl(tx, scope.issuer_id, scope.shard, row["n"] + gaps.MARGIN)
