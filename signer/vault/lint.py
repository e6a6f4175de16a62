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
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from core.errors import Refused
from core.settings import Rules
from signer.api import LintRecord
from signer.vault import profiles

TIME_LIMIT = 30
"""Seconds for one document; a leaf takes 5 ms.  Past it the kernel ends the worker."""

BATCH = 8
"""Documents for one worker at a time: enough to make the hop between processes cheap, few enough that a lone
request does not wait long behind others."""


class Kind(StrEnum):
    """What is linted, which decides by which validators."""

    LEAF = "leaf"
    LOCAL_SERVICE = "local-service"
    LOCAL_SERVICE_ISSUER = "local-service-issuer"
    ROOT = "root"
    ISSUING = "issuing"
    OCSP_RESPONDER = "ocsp-responder"
    CRL = "crl"
    ROOT_CRL = "root-crl"
    OCSP = "ocsp"


class Finding(NamedTuple):
    """One finding of pkilint: severity ("fatal", "error", "warning", "notice"), its code and its message."""

    severity: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    kind: Kind
    octets: bytes
    findings: asyncio.Future[list[Finding]]


class LintPool:
    """`workers` processes that lint under `rules`, each document within `time_limit` seconds.

    To be used from one event loop.
    """

    def __init__(self, workers: int, rules: Rules, time_limit: float = TIME_LIMIT) -> None:
        self.linters = (
            f"pkilint {importlib.metadata.version('pkilint')}",
            f"profile {profiles.VERSION}",
        )
        self._workers = workers
        self._rules = rules
        self._time_limit = time_limit
        self._executor: ProcessPoolExecutor | None = None
        self._waiting: list[_Waiting] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._second_try = asyncio.Lock()

    def start(self) -> None:
        """Start the workers; they warm up while the vault goes on starting."""
        context = multiprocessing.get_context("forkserver")
        # The fork server imports pkilint once (0.8 s), the workers are its children and share the memory.
        context.set_forkserver_preload(["signer.vault.linter"])
        self._executor = ProcessPoolExecutor(self._workers, context, _live_no_longer_than_the_parent)
        for _ in range(self._workers):
            self._executor.submit(_warm, self._rules)

    async def lint(self, octets: bytes, kind: Kind) -> LintRecord:
        """Lint a DER certificate, CRL or OCSP response that carries a dummy signature.

        Raises `Refused("lint.<code>")` for the first ERROR or FATAL finding; `lint.crashed` when the worker
        died or timed out twice.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(kind, octets, loop.create_future())
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            loop.call_soon(self._hand_out)
        findings = await waiting.findings
        for finding in findings:
            if finding.severity in ("fatal", "error"):
                message = f": {finding.message}" if finding.message else ""
                raise Refused(
                    f"lint.{finding.code}", f"pkilint says {finding.severity} {finding.code}{message}"
                )
        return LintRecord(self.linters, tuple(f"{found.severity} {found.code}" for found in findings))

    def close(self) -> None:
        """End the workers.  What is still waiting is refused."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def _hand_out(self) -> None:
        """Give what has gathered in this turn of the loop to the workers, evenly."""
        waiting, self._waiting = self._waiting, []
        size = min(BATCH, -(-len(waiting) // self._workers))
        for start in range(0, len(waiting), size):
            task = asyncio.create_task(self._lint_batch(waiting[start : start + size]))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)

    async def _lint_batch(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._run(batch)
        except BrokenProcessPool:
            # A worker died, perhaps over a neighbour's document: each gets a second chance, alone.
            for waiting in batch:
                async with self._second_try:
                    try:
                        await self._run([waiting])
                    except BrokenProcessPool:
                        _refuse(
                            waiting, "the lint worker died or timed out twice over it: nothing was signed"
                        )

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        executor = self._executor
        if executor is None:
            for waiting in batch:
                _refuse(waiting, "the lint workers are not running: start the vault")
            return
        work = [(waiting.kind, waiting.octets) for waiting in batch]
        try:
            found = await asyncio.wrap_future(executor.submit(_lint, self._rules, work, self._time_limit))
        except BrokenProcessPool:
            if self._executor is executor:
                executor.shutdown(wait=False, cancel_futures=True)
                self.start()
            raise
        except (asyncio.CancelledError, RuntimeError):
            for waiting in batch:
                _refuse(waiting, "the vault is stopping: ask again later")
            return
        for waiting, findings in zip(batch, found, strict=True):
            if not waiting.findings.done():
                waiting.findings.set_result(findings)


def _refuse(waiting: _Waiting, detail: str) -> None:
    if not waiting.findings.done():
        waiting.findings.set_exception(Refused("lint.crashed", detail))


# From here on: in the worker.


def _live_no_longer_than_the_parent() -> None:
    threading.Thread(target=_die_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the vault ends us in order
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _die_with(vault: multiprocessing.process.BaseProcess | None) -> None:
    # A worker holds its fork server's life line, so the fork server cannot end before it: the kernel's
    # PR_SET_PDEATHSIG, which watches the fork server, would wait for ever.  This watches the vault itself.
    if vault is not None:
        vault.join()
    os._exit(1)


def _warm(rules: Rules) -> None:
    from signer.vault import linter

    linter.warm(rules)


def _lint(rules: Rules, work: Sequence[tuple[Kind, bytes]], time_limit: float) -> list[list[Finding]]:
    from signer.vault import linter

    found = []
    for kind, octets in work:
        signal.setitimer(signal.ITIMER_REAL, time_limit)
        found.append(linter.lint(rules, kind, octets))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return found
