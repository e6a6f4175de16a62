"""Issues one CRL.

The steps, numbered alike in docs/revocation.md: (1) reserve the next CRLNumber, durably; (2) read what the
register has changed, and have the vault judge and hold it; (3) the vault signs; (4) check what it signed;
(5) publish the file; (6) record the CRL and the publication time of its entries, with an audit record.
A crash after (1) burns a number, and the next start sees that the file and the row differ and issues anew.

Must never: publish a CRL made from an older revocation version than the public one.

RFC 5280 section 5; BR 4.9.5, 4.9.7, 4.10.1, 7.2; docs/adr/0035.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from core import metrics
from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Database, Reader, Transaction
from core.errors import Refused
from core.settings import Settings
from core.unreadable import UNREADABLE
from repo_static.store import NotPublished, Store
from signer.api import ActivationState, CrlBlocks, CrlRequest, Description, SignedCrl
from status.crl import forgotten
from status.crl.check import check, number_of
from status.crl.entries import Block, Entries
from status.crl.parts import of_file
from status.crl.public import PublicCrl, PublicCrls
from status.crl.scopes import Scope, last_published

AT_ONCE = 16
"""Blocks in one request: the vault judges them in ten milliseconds, and nobody waits longer for it."""

MARKED_AT_ONCE = 5000
"""Revocations marked as published in one transaction: some milliseconds in which nobody else writes."""

ALARM = 80
"""Per cent of `status.crl_size` from which a CRL is an alarm."""

_log = logging.getLogger(__name__)


class CrlSigner(Protocol):
    """What is needed of the vault (`signer.client.Vault` has it)."""

    async def activation(self) -> ActivationState: ...

    async def describe(self) -> Description: ...

    async def hold_crl_blocks(self, request: CrlBlocks) -> None: ...

    async def sign_crl(self, request: CrlRequest) -> SignedCrl: ...


class Issuing:
    """Issues CRLs, one at a time, and keeps their entries for the next ones."""

    def __init__(
        self, database: Database, vault: CrlSigner, settings: Settings, data: DataDirectory, clock: Clock
    ) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._path = data.database
        self._store = Store(data.repository)
        self._clock = clock
        self.public = PublicCrls(self._store)
        self._entries: dict[str, Entries] = {}
        self._held: dict[str, set[bytes]] = {}
        """Blocks that the vault was given, by scope."""
        self._ahead: dict[str, int] = {}
        """By how much more than one a scope's number rises, while the vault knows a higher one than we do."""

    async def issue(self, scope: Scope) -> None:
        """Issue the CRL of a scope.  Raises what the vault, a check or the store raised."""
        began = self._clock.monotonic()
        await self._remember(scope)
        public = self.public.look(scope.name)
        ahead = self._ahead.pop(scope.name, 0)
        reserving = asyncio.create_task(  # (1)
            self._database.write(lambda tx: _reserve_number(tx, scope, public, ahead), at_any_time=True)
        )
        try:
            entries = await self._read(scope)  # (2), while the number becomes durable
        finally:
            number = await reserving
        # The time after the entries: none of them is younger than thisUpdate.
        now = self._clock.latest()
        request = CrlRequest(
            scope.issuer_id,
            scope.shard,
            number,
            now,
            now + self._settings.status.crl_validity,
            tuple(block.sha256 for block in entries.blocks),
        )
        try:
            signed = await self._signed(scope, request, entries.blocks)  # (3)
        except Refused as error:
            if error.code == "crl.number":
                # Its journal remembers more CRLs than register and public file, which were both restored:
                # the next tries go up twice as far each, as gaps cost nothing (RFC 5280 section 5.2.3).
                self._ahead[scope.name] = 2 * ahead + 1
            raise
        octets = [block.octets for block in entries.blocks]
        base_url = self._settings.repository.base_url
        # (4), (5): in a thread, which hashes and writes without holding up the front.
        digest = await asyncio.to_thread(check, signed, request, scope, base_url, octets)
        await asyncio.to_thread(
            self._store.put,
            scope.name,
            (signed.before, *octets, signed.after),
            lambda published: self._guard(published, scope, request, entries.version),
        )
        await self._record(scope, request, entries, digest)  # (6)
        metrics.CRL_SECONDS.observe(self._clock.monotonic() - began)
        _log.info("CRL %s number %d published with %d entries", scope.name, number, entries.count)
        self._look_at_size(scope, len(signed.before) + entries.octets + len(signed.after))

    async def _read(self, scope: Scope) -> Entries:
        """The entries as the register has them now; what is new of them is on its way to the vault."""
        last = last_published(self._database.reader, scope)
        entries = self._entries.setdefault(scope.name, Entries())
        now = self._clock.latest()
        whole = now >= entries.whole_at + self._settings.status.crl_refresh
        sending: asyncio.Task[None] | None = None
        waiting: list[Block] = []
        try:
            async for block in entries.renewed(self._database.reader, scope, last, now, whole=whole):
                waiting.append(block)
                if len(waiting) == AT_ONCE:
                    # The vault judges some while the next are read.
                    if sending is not None:
                        await sending
                    sending, waiting = asyncio.create_task(self._send(scope, waiting)), []
        finally:
            if sending is not None:
                await sending
        await self._send(scope, waiting)
        return entries

    async def _signed(self, scope: Scope, request: CrlRequest, blocks: Sequence[Block]) -> SignedCrl:
        try:
            signed = await self._vault.sign_crl(request)
        except Refused as error:
            if error.code != "crl.block-unknown":
                raise
            # It was started anew, or we were.
            self._held.pop(scope.name, None)
            for at in range(0, len(blocks), AT_ONCE):
                await self._send(scope, blocks[at : at + AT_ONCE])
            signed = await self._vault.sign_crl(request)
        self._held[scope.name] = set(request.blocks)  # it forgot all others
        return signed

    async def _send(self, scope: Scope, blocks: Sequence[Block]) -> None:
        held = self._held.setdefault(scope.name, set())
        new = [block for block in blocks if block.sha256 not in held]
        if new:
            octets = tuple(block.octets for block in new)
            await self._vault.hold_crl_blocks(CrlBlocks(scope.issuer_id, scope.shard, octets))
            held.update(block.sha256 for block in new)

    async def _remember(self, scope: Scope) -> None:
        """A public file that no row records may hold revocations that the register has forgotten."""
        public, last = self.public.look(scope.name), last_published(self._database.reader, scope)
        if public is None or (last is not None and public.sha256 == last.sha256):
            return
        content = self._store.read(scope.name)
        assert content is not None
        entries = await asyncio.to_thread(forgotten.published, content, scope.issuer_certificate)
        lost = forgotten.missing(self._database.reader, entries)
        if lost:
            _log.critical("%s: %d revocations were forgotten and are entered again", scope.name, len(lost))
            await self._database.write(lambda tx: forgotten.enter(tx, lost, scope.name))

    def _guard(self, published: BinaryIO | None, scope: Scope, request: CrlRequest, version: int) -> None:
        """Raises `NotPublished` when what is public is newer than what we are about to put in its place."""
        if published is not None and _number(published) >= request.number:
            raise NotPublished(f"{scope.name}: number {request.number} is not above the published one")
        reader = Reader(self._path)  # this thread's own
        try:
            last = last_published(reader, scope)
        finally:
            reader.close()
        if last is not None and last.revocation_version > version:
            raise NotPublished(
                f"{scope.name}: made from revocation version {version}, "
                f"but version {last.revocation_version} is public already"
            )

    async def _record(self, scope: Scope, request: CrlRequest, entries: Entries, digest: bytes) -> None:
        """The row and the audit record first; then the revocations, of which there may be a million.

        A crash between them leaves some unpublished in the register, and their CRL is issued once more.
        """
        version, count = entries.version, entries.count

        def first(tx: Transaction) -> tuple[int, int | None]:
            _record(tx, scope, request, version, count, digest)
            return _mark(tx, scope, version)

        marked, longest = await self._database.write(first, at_any_time=True)
        while marked == MARKED_AT_ONCE:
            marked, others = await self._database.write(
                lambda tx: _mark(tx, scope, version), at_any_time=True
            )
            longest = max((each for each in (longest, others) if each is not None), default=None)
        if longest is not None:
            metrics.CRL_WAIT.observe(longest)

    def _look_at_size(self, scope: Scope, octets: int) -> None:
        limit = self._settings.status.crl_size
        metrics.CRL_OCTETS.labels(scope.issuer_id, str(scope.shard)).set(octets)
        if octets * 100 >= limit * ALARM:
            _log.critical(
                "%s has %d octets, %d per cent of status.crl_size: raise the number of the issuer's "
                "CRL shards now (certificates that are issued from then on are spread over all of them)",
                scope.name,
                octets,
                octets * 100 // limit,
            )


def _number(published: BinaryIO) -> int:
    try:
        return number_of(of_file(published))
    except UNREADABLE:
        return 0  # a file that was damaged; the vault's journal knows the last number


def _reserve_number(tx: Transaction, scope: Scope, public: PublicCrl | None, ahead: int) -> int:
    """A number above every one used before.  Its row is all zeros and no digest until the CRL is public."""
    (highest,) = tx.execute(
        "SELECT coalesce(max(number), 0) FROM crls WHERE issuer_id = ? AND shard = ?",
        (scope.issuer_id, scope.shard),
    ).fetchone()
    # The public file's is higher than the rows' after a restore from an old backup.
    number: int = max(highest, 0 if public is None else public.number) + 1 + ahead
    tx.execute(
        "INSERT INTO crls (issuer_id, shard, number, this_update, next_update, revocation_version, sha256)"
        " VALUES (?, ?, ?, 0, 0, 0, x'')",
        (scope.issuer_id, scope.shard, number),
    )
    return number


def _record(
    tx: Transaction, scope: Scope, request: CrlRequest, version: int, entries: int, digest: bytes
) -> None:
    tx.execute(
        "UPDATE crls SET this_update = ?, next_update = ?, revocation_version = ?, sha256 = ?"
        " WHERE issuer_id = ? AND shard = ? AND number = ?",
        (
            *(request.this_update, request.next_update, version, digest),
            *(scope.issuer_id, scope.shard, request.number),
        ),
    )
    tx.audit(
        "crl",
        "system",
        {
            "issuer": scope.issuer_id,
            "shard": scope.shard,
            "number": request.number,
            "this_update": request.this_update,
            "next_update": request.next_update,
            "entries": entries,
            "revocation_version": version,
            "sha256": digest.hex(),
        },
    )


def _mark(tx: Transaction, scope: Scope, version: int) -> tuple[int, int | None]:
    """Up to `version` all entries were read after their commit, so each is in the file: it is published now.

    How many were marked, at most `MARKED_AT_ONCE`, and how many seconds the first of them had waited.
    """
    rows = tx.all(
        "SELECT serial, changed_at FROM revocations"
        " WHERE issuer_id = ? AND crl_shard = ? AND published_at IS NULL AND version <= ? LIMIT ?",
        (scope.issuer_id, scope.shard, version, MARKED_AT_ONCE),
    )
    for row in rows:
        tx.execute("UPDATE revocations SET published_at = ? WHERE serial = ?", (tx.now, row["serial"]))
    since = [row["changed_at"] for row in rows if row["changed_at"] is not None]
    return len(rows), (tx.now - min(since) if since else None)
