"""(9) Final certificates to the logs within a day: a job for each, written when the certificate is stored.

Logs took the precertificate before; whoever watches a log for a final certificate finds it there, too.  The
job is a row and survives every crash.  One that is late is counted, and said in our log.

Must never: hold back a certificate from its subscriber; that one was delivered before.

Chrome Root Program Policy 1.3.4.2; requirements.md 2.91.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from prometheus_client import Gauge

from core import certificates, jobs
from core.clock import Clock
from core.database import Database, Transaction
from core.errors import TransientError
from core.metrics import REGISTRY
from core.requirements import DAY

KIND = "ct-final"

WITHIN = DAY
"""Seconds from the signature (Chrome: "within 24 hours")."""

COUNT_EVERY = 60
"""Seconds between two counts of those that are late, whatever number of them is tried meanwhile."""

CONCURRENCY = 16
"""Certificates on their way to logs at once: orders go first."""

LATE = Gauge("acme_ct_finals_late", "Final certificates that no log has after a day.", registry=REGISTRY)

_log = logging.getLogger(__name__)


class Logs(Protocol):
    """What the job needs of submission.Logs."""

    async def log_certificate(self, certificate: bytes, chain: Sequence[bytes], since: int) -> str:
        """Have a log take a final certificate; its name.  Raises `TransientError`."""


class FinalJob:
    """Handler of the jobs of kind "ct-final"; the subject is the certificate's id in the register."""

    def __init__(
        self,
        database: Database,
        logs: Logs,
        chain_of: Callable[[str], Awaitable[Sequence[bytes]]],
        clock: Clock,
    ) -> None:
        """`chain_of` gives the chain of an issuer's id, the issuer's own certificate first."""
        self._database = database
        self._logs = logs
        self._chain_of = chain_of
        self._clock = clock
        self._counted = -COUNT_EVERY

    async def __call__(self, id: str) -> None:
        """Have one log take the certificate.  Raises `TransientError`: the row stays."""
        row = certificates.by_id(self._database.reader, id)
        assert row is not None
        assert row.certificate is not None
        assert row.signed_at is not None
        now = self._clock.now()
        if now > row.not_after:
            await self._end(id, "none: it expired first")
            return
        try:
            name = await self._logs.log_certificate(
                row.certificate, await self._chain_of(row.issuer_id), row.created_at
            )
        except TransientError:
            if now > row.signed_at + WITHIN:
                _log.error("certificate %s is in no log %d s after it was signed", id, now - row.signed_at)
            raise
        finally:
            self._count(now)
        await self._end(id, name)

    async def _end(self, id: str, log: str) -> None:
        def unit(tx: Transaction) -> None:
            jobs.done(tx, KIND, id)
            tx.audit("ct-final", "system", {"id": id, "log": log})

        await self._database.write(unit)

    def _count(self, now: int) -> None:
        if now - self._counted < COUNT_EVERY:
            return
        self._counted = now
        row = self._database.reader.one(
            "SELECT COUNT(*) FROM jobs j JOIN certificates c ON c.id = j.subject"
            " WHERE j.kind = ? AND c.signed_at < ?",
            (KIND, now - WITHIN),
        )
        LATE.set(0 if row is None else row[0])
