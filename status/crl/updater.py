"""Issues a CRL for every issuer and shard: at start, daily, and within seconds of a revocation.

Runs in the app process, which is the only writer of the database.  The steps of one CRL, numbered alike in
docs/revocation.md: (1) reserve the next CRLNumber, durably; (2) read the revocations; (3) the vault signs;
(4) check what it signed; (5) publish the file; (6) record the CRL and the publication time of its entries,
with an audit record.
A crash after (1) burns a number, and the next start sees that the file and the row differ and issues anew.

Must never: decide a revocation, or publish a CRL made from an older revocation version than the public one.

RFC 5280 section 5; BR 4.9.7, 4.10.1, 7.2; root CRLs are a matter of the root ceremony and not made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from typing import Protocol

from core import certificates
from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Database, Transaction
from core.errors import HaltIssuance, Refused, TransientError
from core.settings import Settings
from repo_static.publisher import publish_index
from repo_static.store import NotPublished, Store
from signer.api import ActivationState, CrlEntry, CrlRequest, Description, Signed
from status.crl import forgotten
from status.crl.check import check, number_of
from status.crl.scopes import Scope, last_published, scopes

RETRY_AFTER = 5
"""Seconds until a CRL that could not be made is tried again."""

_POLL = 60
"""Seconds between two looks at what is due; a revocation wakes us at once."""

_ENDED = frozenset({"issuer.ended", "issuer.destroyed"})
"""The vault's refusals for ever: CRLs go on until the CA's end or its key's destruction (BR 4.9.7)."""

_log = logging.getLogger(__name__)


class CrlSigner(Protocol):
    """What the updater needs of the vault (`signer.client.Vault` has it)."""

    async def activation(self) -> ActivationState: ...

    async def describe(self) -> Description: ...

    async def sign_crl(self, request: CrlRequest) -> Signed: ...


class Locked(TransientError):
    """Nothing is signed until people have activated the vault; `wake` is called when they have."""


class CrlUpdater:
    """Keeps the CRLs fresh.  Make one in the app process; call `wake()` after each revocation."""

    def __init__(
        self, database: Database, vault: CrlSigner, settings: Settings, data: DataDirectory, clock: Clock
    ) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._store = Store(data.repository)
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._ended: set[str] = set()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """A revocation has committed: a CRL with it is public within `status.crl_delay` seconds."""
        self._woken.set()

    async def run(self) -> None:
        """Issue what is due, for ever."""
        while True:
            pause: float = _POLL
            try:
                await self.update()
            except Locked as error:
                _log.warning("no CRL is issued: %s", error)
            except (TransientError, HaltIssuance, Refused, NotPublished) as error:
                _log.error("CRL not issued, trying again in %d s: %s", RETRY_AFTER, error)
                pause = RETRY_AFTER
            except Exception:
                _log.exception("CRL not issued, trying again in %d s", RETRY_AFTER)
                pause = RETRY_AFTER
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
                # Revocations come in bursts: half of the promised delay gathers them into one CRL.
                await asyncio.sleep(self._settings.status.crl_delay / 2)
            self._woken.clear()

    async def update(self, force: bool = False) -> list[str]:
        """Issue every CRL that is due, or with `force` every one; the public names of those issued.

        Raises: what the vault or a check raised for the first scope that failed, after all were tried.
        """
        issued: list[str] = []
        failure: Exception | None = None
        async with self._one_at_a_time:
            living = [each for each in scopes(self._database.reader) if each.name not in self._ended]
            due = [each for each in living if force or self._due(each)]
            if due:
                await self._must_be_open()
            for scope in due:
                try:
                    await self._issue(scope)
                    issued.append(scope.name)
                except Exception as error:
                    if isinstance(error, Refused) and error.code in _ENDED:
                        _log.warning("CRL %s is issued no more: %s", scope.name, error)
                        self._ended.add(scope.name)
                        continue
                    _log.error("CRL %s not issued: %s", scope.name, error)
                    failure = failure or error
            if issued:
                await self._publish_index()
        if failure is not None:
            raise failure
        return issued

    async def _must_be_open(self) -> None:
        # Each try reserves numbers for good, and people may come hours later.
        state = await self._vault.activation()
        if state.locked:
            raise Locked(f"{state.threshold} of {state.holders} people must run `acme-server activate` first")

    async def _publish_index(self) -> None:
        """The index names each CRL's nextUpdate.  A page that lags is no reason to hold a CRL back."""
        try:
            publish_index(self._store, await self._vault.describe(), self._settings)
        except Exception:
            _log.exception("the index page was not renewed")

    def _due(self, scope: Scope) -> bool:
        last = last_published(self._database.reader, scope)
        if last is None or self._clock.now() >= last.this_update + self._settings.status.crl_refresh:
            return True
        changed = self._database.reader.one(
            "SELECT 1 FROM revocations WHERE version > ? AND issuer_id = ? AND crl_shard = ? LIMIT 1",
            (last.revocation_version, scope.issuer_id, scope.shard),
        )
        if changed is not None:
            return True
        content = self._store.read(scope.name)
        return content is None or hashlib.sha256(content).digest() != last.sha256

    async def _issue(self, scope: Scope) -> None:
        await self._remember(scope)
        published = self._published_number(scope)
        number = await self._database.write(lambda tx: _reserve_number(tx, scope, published))  # (1)
        # (2) The version is read before the entries, and the time after them: what commits in between is
        # published twice and never missed, and no entry is younger than thisUpdate.
        reader = self._database.reader
        version = certificates.revocation_version(reader)
        last = last_published(reader, scope)
        # An entry stays until it has once been on a CRL issued after the certificate expired (BR 4.10.1):
        # whatever had not expired at the last CRL is on this one.
        unexpired_at = 0 if last is None else last.this_update
        rows = certificates.revocations(reader, scope.issuer_id, scope.shard, unexpired_at)
        entries = tuple(CrlEntry(each.serial, each.revoked_at, each.reason or None) for each in rows)
        now = self._clock.now()
        next_update = now + self._settings.status.crl_validity
        request = CrlRequest(scope.issuer_id, scope.shard, number, now, next_update, entries)
        der = (await self._vault.sign_crl(request)).der  # (3)
        # (4) In a thread: 100 000 entries take 0.6 s, and the front goes on meanwhile.
        await asyncio.to_thread(check, der, request, scope, self._settings.repository.base_url)
        self._store.replace(  # (5)
            scope.name, der, lambda published: self._guard(published, scope, request, version)
        )
        await self._database.write(lambda tx: _record(tx, scope, request, version, der))  # (6)
        _log.info("CRL %s number %d published with %d entries", scope.name, number, len(entries))

    async def _remember(self, scope: Scope) -> None:
        """A public file that no row records may hold revocations that the register has forgotten."""
        content, last = self._store.read(scope.name), last_published(self._database.reader, scope)
        if content is None or (last is not None and hashlib.sha256(content).digest() == last.sha256):
            return
        entries = await asyncio.to_thread(forgotten.published, content, scope.issuer_certificate)
        lost = forgotten.missing(self._database.reader, entries)
        if lost:
            _log.critical("%s: %d revocations were forgotten and are entered again", scope.name, len(lost))
            await self._database.write(lambda tx: forgotten.enter(tx, lost, scope.name))

    def _published_number(self, scope: Scope) -> int:
        """The number in the public file: higher than the rows' after a restore from an old backup."""
        content = self._store.read(scope.name)
        return 0 if content is None else number_of(content)

    def _guard(self, published: bytes | None, scope: Scope, request: CrlRequest, version: int) -> None:
        """Raises `NotPublished` when what is public is newer than what we are about to put in its place."""
        if published is not None and number_of(published) >= request.number:
            raise NotPublished(f"{scope.name}: number {request.number} is not above the published one")
        last = last_published(self._database.reader, scope)
        if last is not None and last.revocation_version > version:
            raise NotPublished(
                f"{scope.name}: made from revocation version {version}, "
                f"but version {last.revocation_version} is public already"
            )


def _reserve_number(tx: Transaction, scope: Scope, published: int) -> int:
    """A number above every one used before.  Its row is all zeros and no digest until the CRL is public."""
    (highest,) = tx.execute(
        "SELECT coalesce(max(number), 0) FROM crls WHERE issuer_id = ? AND shard = ?",
        (scope.issuer_id, scope.shard),
    ).fetchone()
    number: int = max(highest, published) + 1
    tx.execute(
        "INSERT INTO crls (issuer_id, shard, number, this_update, next_update, revocation_version, sha256)"
        " VALUES (?, ?, ?, 0, 0, 0, x'')",
        (scope.issuer_id, scope.shard, number),
    )
    return number


def _record(tx: Transaction, scope: Scope, request: CrlRequest, version: int, der: bytes) -> None:
    digest = hashlib.sha256(der).digest()
    tx.execute(
        "UPDATE crls SET this_update = ?, next_update = ?, revocation_version = ?, sha256 = ?"
        " WHERE issuer_id = ? AND shard = ? AND number = ?",
        (
            *(request.this_update, request.next_update, version, digest),
            *(scope.issuer_id, scope.shard, request.number),
        ),
    )
    # Up to `version` all entries were read after their commit, so each of them is in the file.
    tx.execute(
        "UPDATE revocations SET published_at = ?"
        " WHERE issuer_id = ? AND crl_shard = ? AND published_at IS NULL AND version <= ?",
        (tx.now, scope.issuer_id, scope.shard, version),
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
            "entries": len(request.entries),
            "revocation_version": version,
            "sha256": digest.hex(),
        },
    )
