"""(6) and (9): certificates to logs, SCTs from them.

As few logs as are needed are asked at once; after a while one more is asked besides, and for each that failed
another.  The first answers that fulfil the policy win, and the aim (policy.py) is waited for a little longer.
Without enough SCTs nothing is issued: the order stays *processing* and its job comes again.

A log that failed is left alone for a growing while, or for as long as it asks.  An SCT that does not verify
is a fault of its log, loudly logged.

Must never: give out an SCT that was not verified; ask a log that the list does not call usable.

RFC 6962 sections 3 and 4; Chrome CT policy; requirements.md 2.89 to 2.91.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import Counter, Gauge

from core.clock import Clock
from core.errors import TransientError
from core.metrics import REGISTRY
from core.randomness import Randomness
from core.requirements import DAY, Limit, limit
from core.settings import Ct, Rules
from signer.ct import sct, tbs
from signer.ct.client import LogClient, LogFailed
from signer.ct.log_list import Log, LogLists, must_be_young
from signer.ct.policy import AIM, Policy, in_order, policy_for
from signer.ct.verification import Answer, verified

FIRST_DELAY, LONGEST_DELAY = 1, 300
"""Seconds that a log is left alone after its first failure, twice as long after each further one, at most."""

UNTRUE_DELAY = 300
"""Seconds after an SCT that does not verify: such a log is ill, or an enemy's."""

SLOW_FOR = 60
"""Seconds for which a log that was not waited for to the end is asked after the others."""

ANSWERS = Counter("acme_ct_answers", "Answers of logs.", ("log", "outcome"), registry=REGISTRY)
LIST_AGE = Gauge("acme_ct_log_list_age_seconds", "Age of the log list in force.", registry=REGISTRY)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Standing:
    """How a log did: when it may be asked again and until when it counts as slow (monotonic seconds)."""

    not_before: float = 0.0
    failures: int = 0
    slow_until: float = 0.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is submitted: its chain in DER, the entry that logs sign, and a time before which it was not."""

    chain: Sequence[bytes]
    entry_type: int
    entry: bytes
    since: int
    not_after: int


class Logs:
    """The logs of the list in force."""

    def __init__(
        self,
        lists: LogLists,
        settings: Ct,
        rules: Rules,
        clock: Clock,
        randomness: Randomness,
        client: LogClient | None = None,
    ) -> None:
        self._lists = lists
        self._settings = settings
        self._rules = rules
        self._clock = clock
        self._randomness = randomness
        self._client = client or LogClient(settings.request_timeout)
        self._standings: dict[bytes, _Standing] = {}
        self._warned_at = 0

    def must_be_possible(self, not_before: int, not_after: int) -> None:
        """Raise `TransientError` when SCTs for such a certificate are not to be had now."""
        now = self._clock.now()
        self._possible(policy_for(not_after - not_before + 1, now), not_after, now)

    def trouble(self) -> str:
        """Why no SCTs for a certificate of 90 days are to be had now; "" when they are."""
        now = self._clock.now()
        try:
            self.must_be_possible(now, now + 90 * DAY)
        except TransientError as error:
            return str(error)
        return ""

    async def collect(self, precertificate: bytes, chain: Sequence[bytes], since: int) -> tuple[bytes, ...]:
        """Verified, encoded SCTs of a precertificate that fulfil the policy.

        `chain` is the issuer's, the issuer first; `since`, POSIX seconds, a time before which the
        precertificate did not exist.  Raises `TransientError`.
        """
        parsed = x509.load_der_x509_certificate(precertificate)
        issuer = x509.load_der_x509_certificate(chain[0]).public_key()
        spki = issuer.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        unpoisoned = tbs.unpoisoned(parsed.tbs_certificate_bytes)
        not_after = int(parsed.not_valid_after_utc.timestamp())
        wanted = _Wanted(
            (precertificate, *chain),
            sct.ENTRY_PRECERT,
            sct.precert_entry(hashlib.sha256(spki).digest(), unpoisoned),
            since,
            not_after,
        )
        now = self._clock.now()
        policy = policy_for(not_after - int(parsed.not_valid_before_utc.timestamp()) + 1, now)
        possible = self._possible(policy, not_after, now)
        quick = [log for log in possible if not self._is_slow(log)]
        aim_at = quick if policy.fulfilled(quick) else possible
        race = _Race(
            in_order(quick) + in_order([log for log in possible if self._is_slow(log)]),
            partial(self._ask, wanted, self._client.add_pre_chain),
            policy.fulfilled,
            lambda logs: policy.aimed(logs, aim_at),
            max(policy.least, AIM),
        )
        got = await race.run(self._settings.hedge, self._settings.patience)
        if not policy.fulfilled([*got]):
            raise TransientError(
                f"{len(got)} SCTs are too few: {race.faults or 'the logs are slow'}; the logs are asked again"
            )
        return tuple(got[log] for log in policy.chosen([*got]))

    async def log_certificate(self, certificate: bytes, chain: Sequence[bytes], since: int) -> str:
        """(9) Have one log take a final certificate; the log's name.  Arguments and errors as `collect`."""
        parsed = x509.load_der_x509_certificate(certificate)
        not_after = int(parsed.not_valid_after_utc.timestamp())
        wanted = _Wanted((certificate, *chain), sct.ENTRY_X509, sct.x509_entry(certificate), since, not_after)
        possible = self._possible(Policy(1, 1, 1), not_after, self._clock.now())
        race = _Race(
            in_order(possible), partial(self._ask, wanted, self._client.add_chain), bool, bool, first=1
        )
        got = await race.run(self._settings.hedge, self._settings.patience)
        if not got:
            raise TransientError(f"no log took the certificate: {race.faults}")
        return next(iter(got)).name

    async def close(self) -> None:
        """Close the connections to the logs."""
        await self._client.close()

    def _possible(self, policy: Policy, not_after: int, now: int) -> list[Log]:
        """The logs that may be asked now, in chance's order.  Raises `TransientError` when they cannot do."""
        current = self._lists.current()
        LIST_AGE.set(now - current.at)
        must_be_young(current, self._rules, now)
        self._warn_of_age(now - current.at, now)
        usable = [log for log in current.logs if log.takes(not_after, now)]
        if not policy.fulfilled(usable):
            raise TransientError(
                "the log list has too few usable logs for this certificate's notAfter: see ct.log_list"
            )
        at = self._clock.monotonic()
        ready = [log for log in usable if self._standing(log).not_before <= at]
        if not policy.fulfilled(ready):
            left = sorted(self._standing(log).not_before - at for log in usable if log not in ready)
            raise TransientError(
                f"too few logs are well: {len(left)} failed and are left alone, the first for {left[0]:.0f} s"
            )
        return sorted(ready, key=lambda log: self._randomness.octets(8))

    def _warn_of_age(self, age: int, now: int) -> None:
        most = limit(Limit.LOG_LIST_AGE, now)
        if age > most // 2 and now - self._warned_at >= DAY:
            self._warned_at = now
            _log.warning("the log list is %d days old: fetch it again before %d", age // DAY, most // DAY)

    async def _ask(
        self, wanted: _Wanted, add: Callable[[Log, Sequence[bytes]], Awaitable[Answer]], log: Log
    ) -> bytes:
        started = self._clock.monotonic()
        try:
            answer = await add(log, wanted.chain)
        except asyncio.CancelledError:
            at = self._clock.monotonic()
            if at - started >= self._settings.hedge:
                self._standings.setdefault(log.id, _Standing()).slow_until = at + SLOW_FOR
            raise
        except LogFailed as failed:
            self._failed(log, "failed", failed.retry_after or 0)
            _log.warning("log %s: %s", log.name, failed)
            raise
        try:
            found = verified(
                answer, log, wanted.entry_type, wanted.entry, since=wanted.since, now=self._clock.now()
            )
        except ValueError as error:
            self._failed(log, "untrue", UNTRUE_DELAY)
            _log.error("log %s gave an SCT that is not one: %s; tell its operator", log.name, error)
            raise LogFailed(f"an SCT that is not one: {error}") from error
        ANSWERS.labels(log.name, "sct").inc()
        self._standings.pop(log.id, None)
        return found

    def _standing(self, log: Log) -> _Standing:
        return self._standings.get(log.id, _WELL)

    def _is_slow(self, log: Log) -> bool:
        return self._standing(log).slow_until > self._clock.monotonic()

    def _failed(self, log: Log, outcome: str, least: int) -> None:
        ANSWERS.labels(log.name, outcome).inc()
        standing = self._standings.setdefault(log.id, _Standing())
        delay = max(least, min(FIRST_DELAY << min(standing.failures, 16), LONGEST_DELAY))
        standing.failures += 1
        standing.not_before = self._clock.monotonic() + delay


_WELL = _Standing()


class _Race:
    """Logs asked one beside the other until what came is enough."""

    def __init__(
        self,
        order: Sequence[Log],
        ask: Callable[[Log], Awaitable[bytes]],
        enough: Callable[[list[Log]], bool],
        aimed: Callable[[list[Log]], bool],
        first: int,
    ) -> None:
        self._waiting = list(order)
        self._ask = ask
        self._enough = enough
        self._aimed = aimed
        self._first = first
        self._running: dict[asyncio.Task[bytes], Log] = {}
        self._got: dict[Log, bytes] = {}
        self._failures: list[str] = []

    @property
    def faults(self) -> str:
        """What the logs that failed said."""
        return "; ".join(self._failures)

    async def run(self, hedge: float, patience: float) -> dict[Log, bytes]:
        """The SCTs that came, by log, in the order in which they came: enough of them, or all there are.

        `hedge` seconds without an answer start one more log; twice that long the aim is waited for when there
        is enough already; after `patience` seconds all is over.
        """
        for _ in range(self._first):
            self._start_next()
        try:
            async with asyncio.timeout(patience):
                idle = 0
                while self._running and not self._aimed([*self._got]):
                    if idle >= 2 and self._enough([*self._got]):
                        break
                    done, _ = await asyncio.wait(
                        self._running, timeout=hedge, return_when=asyncio.FIRST_COMPLETED
                    )
                    idle = 0 if done else idle + 1
                    if not done:
                        self._start_next()
                    for task in done:
                        self._ended(task)
        except TimeoutError:
            pass  # what came until now may be enough
        finally:
            await self._cancel()
        return self._got

    def _start_next(self) -> None:
        if self._waiting:
            log = self._waiting.pop(0)
            self._running[asyncio.ensure_future(self._ask(log))] = log

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        log = self._running.pop(task)
        try:
            self._got[log] = task.result()
        except LogFailed as failed:
            self._failures.append(f"{log.name}: {failed}")
            self._start_next()

    async def _cancel(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
