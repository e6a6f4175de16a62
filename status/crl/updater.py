"""Has a CRL issued for every issuer and shard: at start, daily, and within seconds of a revocation.

Runs in the app process, which is the only writer of the database; issue.py makes one CRL.

Must never: decide a revocation; let one CRL that fails stop the others.

RFC 5280 section 5; BR 4.9.7; root CRLs are a matter of the root ceremony and not made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from core import gaps
from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Database
from core.errors import HaltIssuance, Refused, TransientError
from core.settings import Settings
from repo_static.publisher import publish_index
from repo_static.store import NotPublished, Store
from status.crl.issue import CrlSigner, Issuing
from status.crl.scopes import Scope, last_published, scopes

RETRY_AFTER = 5
"""Seconds until a CRL that could not be made is tried again."""

_POLL = 60
"""Seconds between two looks at what is due; a revocation wakes us at once."""

_ENDED = frozenset({"issuer.ended", "issuer.destroyed"})
"""The vault's refusals for ever: CRLs go on until the CA's end or its key's destruction (BR 4.9.7)."""

_log = logging.getLogger(__name__)


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
        self._issuing = Issuing(database, vault, settings, data, clock)
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
            except (Locked, gaps.RegisterBehind) as error:
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
                gaps.must_be_none(self._database.reader)  # a number and a file could take something back
                await self._must_be_open()
            for scope in due:
                try:
                    await self._issuing.issue(scope)
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
        if last is None or self._clock.latest() >= last.this_update + self._settings.status.crl_refresh:
            return True
        waiting = self._database.reader.one(
            "SELECT 1 FROM revocations"
            " WHERE issuer_id = ? AND crl_shard = ? AND published_at IS NULL LIMIT 1",
            (scope.issuer_id, scope.shard),
        )
        if waiting is not None:
            return True
        public = self._issuing.public.look(scope.name)
        # A file without the row, a row without the file; or a full CRL that has become a shard.
        return (
            public is None
            or public.sha256 != last.sha256
            or public.point != scope.distribution_point(self._settings.repository.base_url)
        )
