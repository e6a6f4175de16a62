"""What stands beside the register and is public, or was noted: is it newer than the register?

    the mark          a record of the audit log that was there when the app saw the register last
    the manifest      such a record, and a revocation version
    the OCSP index    the revocations that were said
    the CRLs          what they revoke, and their numbers

Must never: take anything for older than it is; close a gap for what might be.

CPS 5.7.4; BR 4.9.10, 4.10.1, 7.2.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging

from core import gaps, revocations
from core.audit_copy import Lost, audit_hash
from core.database import Database, Rows, Transaction
from core.errors import Refused
from core.gaps import RESTORED, REVOCATIONS
from core.register_mark import Mark
from repo_static.manifest.updater import NAME
from repo_static.store import Store
from status.crl.scopes import last_published, scopes
from status.ocsp.index.index import Index
from status.restored import answers, outside
from status.restored.brought import Brought
from status.restored.put_back import enter, is_missing

_log = logging.getLogger(__name__)


class Public:
    """One in the app process."""

    def __init__(self, database: Database, store: Store, index: Index, brought: Brought) -> None:
        self._database = database
        self._store = store
        self._index = index
        self._brought = brought

    async def look_at_the_mark(self, mark: Mark | None, lost: Lost) -> None:
        """A register that lacks the record was restored, though all else was restored with it."""
        if mark is None or mark.is_in(self._database.reader):
            return
        if any((each.sequence, each.hash) == (mark.sequence, mark.hash) for each in lost.records):
            return  # the copy of the audit log goes on from there
        await self._unknown(mark.at, f"audit record {mark.sequence}, which was there")

    async def look_at_the_manifest(self, lost: Lost) -> None:
        """It names a record of the audit log: who has not that record is older, or another."""
        content = self._store.read(NAME)
        if content is None:
            return
        try:
            said = outside.manifest(content)
        except Refused as error:
            _log.error("%s is no evidence: %s", NAME, error)
            return
        await self.heed_manifest(said, lost, NAME)

    async def heed_manifest(self, said: outside.Manifest, lost: Lost, source: str) -> None:
        """Compare the register with what a manifest tells of it."""
        copied = {each.hash for each in lost.records if each.sequence == said.audit.sequence}
        known = (
            audit_hash(self._database.reader, said.audit.sequence) == said.audit.hash
            or said.audit.hash.hex() in copied
            or _reconciled_since(self._database.reader, said.this_update)
        )

        def unit(tx: Transaction) -> None:
            gaps.raise_version(tx, said.version)
            if not known:
                gaps.revocations_unknown(tx, said.this_update, source)

        if not known or said.version > revocations.version(self._database.reader):
            await self._database.write(unit, at_any_time=True)

    async def look_at_the_answers(self) -> None:
        """A revocation version that the register has not come to tells that it is older."""
        reader, index = self._database.reader, self._index
        index.look()
        if not answers.is_ahead(index, reader) and not gaps.closed(reader):
            return
        missing = answers.forgotten(reader, await asyncio.to_thread(answers.revoked, index))

        def unit(tx: Transaction) -> None:
            gaps.raise_version(tx, index.version)
            at = max((each.revoked_at or 0 for each in missing), default=0)
            gaps.revocations_unknown(tx, at, "the index of OCSP answers")

        if missing or answers.is_ahead(index, reader):
            await self._database.write(unit, at_any_time=True)
            await enter(self._database, missing, "a signed OCSP answer says so")

    async def look_at_the_crls(self) -> None:
        """Those that are not the recorded ones: they may be newer."""
        reader = self._database.reader
        for scope in scopes(reader):
            content, last = self._store.read(scope.name), last_published(reader, scope)
            if content is None or (last is not None and hashlib.sha256(content).digest() == last.sha256):
                continue
            try:
                found = await self._brought.read_crl(content)
                if _is_news(reader, found):
                    _log.critical("%s tells of what the register has forgotten", scope.name)
                    await self._unknown(found.this_update, scope.name)
                await self._brought.take_crl(found, content)
            except Refused as error:
                _log.error("%s is no evidence: %s", scope.name, error)

    async def _unknown(self, at: int, by: str) -> None:
        await self._database.write(lambda tx: gaps.revocations_unknown(tx, at, by), at_any_time=True)


def _reconciled_since(rows: Rows, at: int) -> bool:
    """Whether the register was reconciled after that: the next manifest takes the old one's place soon."""
    restored = rows.one("SELECT 1 FROM audit WHERE kind = 'register-restored' AND at >= ? LIMIT 1", (at,))
    closed = rows.one(
        "SELECT 1 FROM register_gaps WHERE subject IN (?, ?) AND closed_at >= ?", (REVOCATIONS, RESTORED, at)
    )
    return restored is not None or closed is not None


def _is_news(rows: Rows, crl: outside.Crl) -> bool:
    """Whether only a register that was restored does not know of it."""
    highest = rows.one(
        "SELECT coalesce(max(number), 0) AS n FROM crls WHERE issuer_id = ? AND shard = ?",
        (crl.scope.issuer_id, crl.scope.shard),
    )
    assert highest is not None
    return bool(crl.number > highest["n"]) or any(is_missing(rows, each) for each in crl.said)
