"""A pool of lint workers: pkilint judges what is to be signed before the key is touched.

Linting is slow Python over octets that a stranger influenced, so it runs in processes of its own.  They are
started by a fork server, never forked from the vault: they have no token, no PIN and no journal.  They die
with the vault.

An ERROR or FATAL finding refuses; so do a crashed validator (a FATAL finding in pkilint), a worker that dies
or takes too long, and anything that cannot be decoded.  Nothing unlinted is ever signed.

BR 4.3.1.2; docs/adr/0004.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from core import requirements
from core.errors import Refused
from core.settings import Rules
from signer.api import LintRecord
from signer.vault.lint import ca_check
from signer.vault.lint import zlint as lint_zlint
from signer.vault.lint.worker import Finding, Kind, Work, Worker
from signer.vault.templates import profiles

__all__ = ["Finding", "Kind", "LintPool"]

TIME_LIMIT = 30
"""Seconds for one document; a leaf takes 0.3 ms.  Past it the kernel ends the worker."""

BATCH = 8
"""Documents for one worker at a time: enough to make the hop between processes cheap, few enough that a lone
request does not wait long behind others."""

FAREWELL = 5
"""Seconds that a worker has to end in order; an idle one needs milliseconds."""


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Work
    findings: asyncio.Future[list[Finding]]
    suspect: bool = False
    """A worker died over it, or over a neighbour in its batch."""


class LintPool:
    """`workers` processes that lint under `rules`, each document within `time_limit` seconds.

    To be used from one event loop.
    """

    def __init__(
        self, workers: int, rules: Rules, time_limit: float = TIME_LIMIT, *, zlint: str = ""
    ) -> None:
        """`zlint` is the path of a second linter, "" for none.  Raises `ConfigurationError` about it."""
        self.linters = (
            f"pkilint {importlib.metadata.version('pkilint')}",
            f"profile {profiles.VERSION}",
            *([lint_zlint.version(zlint)] if zlint else []),
        )
        self._zlint = zlint
        self._limit = workers
        self._rules = rules
        self._time_limit = time_limit
        self._running = False
        self._idle: list[Worker] = []
        self._busy: dict[Worker, list[_Waiting]] = {}
        self._waiting: deque[_Waiting] = deque()

    def start(self) -> None:
        """Start the workers; they warm up while the vault goes on starting."""
        self._running = True
        self._idle = [self._new_worker() for _ in range(self._limit)]

    @property
    def running(self) -> bool:
        """Between `start` and `close`."""
        return self._running

    async def lint(
        self, octets: bytes, kind: Kind, *, at: int | None = None, plain: bool = False
    ) -> LintRecord:
        """Lint a DER certificate, CRL or OCSP response that carries a dummy signature (or its own).

        `at` (POSIX seconds) names in the record the day of the rules that bind then.  `plain`: by pkilint
        alone, without what makes it fast.

        The hierarchy's certificates are judged by our own lint here, too; of leaves, CRLs and OCSP answers
        those who ask have done so.  Raises `Refused("lint.<code>")` for the first ERROR or FATAL finding;
        `lint.crashed` when the worker died or timed out twice.
        """
        if not self._running:
            raise Refused("lint.crashed", "the lint workers are not running: start the vault")
        if kind in ca_check.KINDS:
            ca_check.check(octets, kind, self._rules)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(Work(kind, octets, plain), loop.create_future())
        if not self._waiting:
            loop.call_soon(self._hand_out)
        self._waiting.append(waiting)
        findings = await waiting.findings
        for finding in findings:
            if finding.severity in ("fatal", "error"):
                message = f": {finding.message}" if finding.message else ""
                raise Refused(
                    f"lint.{finding.code}", f"the linter says {finding.severity} {finding.code}{message}"
                )
        lint_set = _lint_set(self._rules, kind, None if at is None else requirements.newest(at))
        said = tuple(f"{found.severity} {found.code}" for found in findings)
        return LintRecord(self.linters, said, lint_set)

    def close(self) -> None:
        """End the workers.  What is still waiting is refused."""
        self._running = False
        left = [*self._waiting, *(waiting for batch in self._busy.values() for waiting in batch)]
        workers = [*self._idle, *self._busy]
        self._idle, self._busy, self._waiting = [], {}, deque()
        for waiting in left:
            _refuse(waiting, "the vault is stopping: ask again later")
        for worker in workers:
            worker.close(FAREWELL)

    def _new_worker(self) -> Worker:
        return Worker(self._rules, self._time_limit, self._done, self._zlint)

    def _hand_out(self) -> None:
        """Give what waits to idle workers, as much as may be to one: the fewer wake up, the less it costs.

        What gathers while all are busy is the next batch.
        """
        while self._waiting:
            if not self._idle:
                if not self._running or len(self._busy) >= self._limit:
                    return
                try:
                    self._idle.append(self._new_worker())
                except (OSError, EOFError) as error:
                    for waiting in self._waiting:
                        _refuse(
                            waiting, f"no lint worker can be started ({error}): see to memory and processes"
                        )
                    self._waiting.clear()
                    return
            batch = self._next_batch()
            if batch:
                worker = self._idle.pop()
                self._busy[worker] = batch
                worker.give([waiting.work for waiting in batch])

    def _next_batch(self) -> list[_Waiting]:
        """Those next in line whom somebody still awaits; a suspect goes alone."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < BATCH and not (batch and self._waiting[0].suspect):
            waiting = self._waiting.popleft()
            if not waiting.findings.done():
                batch.append(waiting)
                if waiting.suspect:
                    break
        return batch

    def _done(self, worker: Worker, findings: list[list[Finding]] | None) -> None:
        batch = self._busy.pop(worker, None)
        if batch is None or findings is None or len(findings) != len(batch):
            self._lost(worker, batch or [])
        else:
            self._idle.append(worker)
            for waiting, found in zip(batch, findings, strict=True):
                if not waiting.findings.done():
                    waiting.findings.set_result(found)
        self._hand_out()

    def _lost(self, worker: Worker, batch: list[_Waiting]) -> None:
        """A worker died: each document that it had gets a second chance, alone, with another."""
        if worker in self._idle:
            self._idle.remove(worker)
        worker.close(0)
        for waiting in batch:
            if waiting.suspect:
                _refuse(waiting, "the lint worker died or timed out twice over it: nothing was signed")
            else:
                waiting.suspect = True
                self._waiting.append(waiting)


@lru_cache(maxsize=64)
def _lint_set(rules: Rules, kind: Kind, day: int | None) -> str:
    date = "" if day is None else f" {datetime.fromtimestamp(day, UTC):%Y-%m-%d}"
    return f"{rules} {kind}{date}"


def _refuse(waiting: _Waiting, detail: str) -> None:
    if not waiting.findings.done():
        waiting.findings.set_exception(Refused("lint.crashed", detail))
