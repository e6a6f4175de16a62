"""The app process: which parts there are and how they hang together.  The only place where that is chosen.

Its duties: the ACME front, the registration authority's jobs, the issuance worker, the CRL timer, the public
tree, the operator's socket, metrics and health.  It is the database's only writer.

Must never: hold a key of the CA, or issue before the vault's journal and the register agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from acme_server import app
from acme_server.access_log import AccessLog
from acme_server.changes import Changes
from acme_server.context import Context
from acme_server.registration import finalize, revocation_run, validate
from acme_server.registration.binding_secret import BindingSecret
from acme_server.server import Server
from acme_server.tls import DirectoryTls
from acme_server.urls import Urls, check_base
from core import blocked_keys, tables
from core.audit_copy import AuditCopy
from core.blocklist import Blocklist
from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Database
from core.ephemeral import Buckets, Nonces
from core.ephemeral.memory import MemoryNonces
from core.ephemeral.memory_buckets import MemoryBuckets
from core.ephemeral.redis import server as redis
from core.ephemeral.redis.buckets import RedisBuckets
from core.ephemeral.redis.nonces import RedisNonces
from core.ephemeral.redis.secret import NonceSecret
from core.ephemeral.redis.standing import Standing, look
from core.errors import CaError, ConfigurationError, HaltIssuance, TransientError
from core.forwarded import Addresses
from core.high_risk import HighRisk
from core.jobs import Handler, JobRunner, hasten
from core.randomness import Randomness
from core.settings import CtMode, Settings
from operations import observation, prerequisites
from operations.alarms.deadlines import DeadlineWatch
from operations.alarms.perspectives import PerspectiveWatch
from operations.alarms.reports import ReportWatch
from operations.alarms.rules import RuleWatch
from operations.alarms.succession import Succession
from operations.alarms.vault import VaultWatch
from operations.desk import (
    bindings,
    holds,
    incident,
    issuer_causes,
    limits,
    local_api,
    problem_reports,
    reconcile,
)
from operations.desk import revoke as revoking
from operations.desk.documents import Documents
from operations.records import record_start, record_stop
from operations.report_erasure import Erasure
from operations.report_intake import Intake
from repo_static import publisher, rendering
from repo_static.manifest.updater import ManifestUpdater
from repo_static.store import Store
from signer.api import Description
from signer.blocking import BlockKeyJob
from signer.client import Vault
from signer.ct import finals
from signer.ct.log_list import LogLists
from signer.ct.submission import Logs
from signer.issuance import Issuance
from status.crl.updater import CrlUpdater
from status.ocsp.index.index import Index
from status.pages.published import Published
from status.restored.register import RestoredRegister
from validation.mpic.client import Perspectives
from validation.mpic.foresight import Foreseer

VAULT_PATIENCE = 60
"""Seconds to wait for the vault at start: its self-test and lint pool take a few on a busy machine."""

_log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    data: DataDirectory,
    clock: Clock,
    randomness: Randomness,
    ready: Callable[[], None],
) -> None:
    """Serve until cancelled; `ready` is called once the directory answers.

    Raises: `ConfigurationError` and other `CaError` at start, with the remedy; what a loop that must not end
    raised, later.
    """
    urls = Urls(settings)
    async with contextlib.AsyncExitStack() as closing:
        copy = AuditCopy(data.audit)
        closing.callback(copy.close)
        database = await _open_database(settings, data, clock, copy)
        closing.push_async_callback(database.close)
        check_base(database.reader, urls)
        vault = Vault(data.vault_socket, owner=data.vault)
        closing.push_async_callback(vault.close)
        description = await _describe(vault, clock)
        _must_fit(description, settings)

        store = Store(data.repository)
        register = RestoredRegister(
            database,
            store,
            copy,
            Index(data.answers, clock),
            clock,
            marker=data.restored,
            mark=data.register_mark,
            pins=settings.repository.manifest_pins,
        )
        closing.push_async_callback(register.follow_to_the_end)
        await database.write(lambda tx: record_start(tx, settings), at_any_time=True)
        closing.push_async_callback(database.write, record_stop, at_any_time=True)
        logs = _logs(settings, clock, randomness)
        if logs is not None:
            closing.push_async_callback(logs.close)
        succession = Succession(settings, store, clock)
        succession.follow(description)
        documents = Documents(settings, store, database, clock)
        await documents.start()
        issuance = Issuance(
            vault, database, settings, clock, randomness, logs, succession.heed, documents.require
        )
        try:
            await issuance.reconcile()
        except HaltIssuance as halt:
            # It issues nothing now, but subscribers must be able to revoke at any hour (BR 4.9.3).
            _log.critical("ISSUANCE HALTED: %s", halt)
        await register.look()
        chains = succession.chains
        crls = CrlUpdater(database, vault, settings, data, clock)
        manifests = ManifestUpdater(data.database, vault, settings, store, clock)

        def sign_what_is_due() -> None:
            crls.wake()
            manifests.wake()

        succession.on_change = sign_what_is_due
        try:
            await crls.update()
        except CaError as error:
            # Its own loop tries again; a CA whose vault halts still answers for what it has issued.
            _log.error("no CRL at start: %s", error)
        publisher.publish_index(store, description, settings)

        blocklist = Blocklist(settings.ca.blocklist)
        closing.callback(blocklist.close)
        high_risk = HighRisk(settings.ca.high_risk)
        perspectives = Perspectives(data, settings, clock, randomness)
        closing.push_async_callback(perspectives.close)
        pinned = dict(zip(description.perspectives, description.perspective_keys, strict=False))
        perspective_watch = PerspectiveWatch(perspectives.channels, settings, data, pinned, clock)
        await perspective_watch.start()
        secret = _binding_secret(settings, data, database, clock, randomness)
        changes = Changes()

        def revoked() -> None:
            crls.wake()
            jobs.wake()  # the vault may have to hear of a compromised key

        jobs = JobRunner(
            database,
            clock,
            {
                **app.job_handlers(database, settings, clock, perspectives, issuance, changes),
                **_log_handlers(database, logs, issuance, clock),
                blocked_keys.KIND: BlockKeyJob(database, vault),
                revocation_run.KIND: revocation_run.RevocationRun(database, revoked),
            },
            # Validations wait for subscribers' hosts; the perspectives bound them by the same number.
            {validate.KIND: settings.validation.concurrency, finals.KIND: finals.CONCURRENCY},
            at_any_time=(blocked_keys.KIND, revocation_run.KIND),
        )
        closing.push_async_callback(jobs.close)
        tls = DirectoryTls(
            issuance,
            succession.chain_of,
            data.tls,
            settings.acme.tls_names,
            clock,
            randomness,
        )
        await tls.start()
        nonces, buckets, standing = await _short_lived(closing, settings, data, clock, randomness)

        access_log = AccessLog(data.log / "access.log")
        access_log.open()
        closing.callback(access_log.close)
        context = Context(
            settings=settings,
            database=database,
            clock=clock,
            randomness=randomness,
            nonces=nonces,
            buckets=buckets,
            foreseer=Foreseer(perspectives.channels, settings, clock, randomness),
            urls=urls,
            changes=changes,
            chains=chains,
            wake_jobs=jobs.wake,
            on_revocation=crls.wake,
            binding_secret=secret,
            blocklist=blocklist,
            high_risk=high_risk,
        )
        front = Server(
            app.build(context),
            settings.acme.listen,
            tls.context,
            settings.limits,
            clock,
            access_log.add,
            Addresses(settings.acme),
        )
        if tls.usable.is_set():
            await front.start()
        closing.push_async_callback(front.close)
        operator = local_api.server(database, crls.wake, jobs.wake)
        bindings.serve(operator, database, clock, secret, settings, randomness)
        revoking.serve(operator, database, clock, randomness, jobs.wake)
        incident.serve(operator, database, clock, randomness)
        holds.serve(operator, database, settings, jobs.wake)
        problem_reports.serve(operator, database, randomness, jobs.wake)
        limits.serve(operator, context)
        documents.serve(operator)
        issuer_causes.serve(operator, database)
        reconcile.serve(operator, database, register, issuance, revoked)
        await operator.listen(data.app_socket)
        closing.push_async_callback(operator.close)

        async def go_on() -> None:
            await database.write(lambda tx: hasten(tx, finalize.KIND), at_any_time=True)
            jobs.wake()

        documents.on_change = go_on
        watch = VaultWatch(
            vault, database.reader, settings.status, clock, (sign_what_is_due, tls.renew_if_due, go_on)
        )
        await watch.look()
        rules = RuleWatch(settings, clock)
        intake = Intake(data.reports, database, rendering.base_url(settings), crls.wake, jobs.wake)
        await observation.start(
            closing,
            settings,
            vault,
            database,
            watch,
            lambda: issuance.halted or documents.halted or rules.halted or (logs.trouble() if logs else ""),
            clock,
            standing,
            data,
        )

        async with asyncio.TaskGroup() as loops:
            for loop in (
                jobs.run(),
                issuance.run(),
                crls.run(),
                manifests.run(),
                tls.keep_renewed(),
                _until_broken(database, data),
                succession.run(issuance.refresh),
                watch.run(),
                perspective_watch.run(),
                rules.run(),
                intake.run(),
                ReportWatch(database, clock).run(),
                Erasure(database, settings.repository.report_personal_data).run(),
                DeadlineWatch(database, Published(data.repository), clock).run(),
                _front_when_usable(front, tls),
                blocklist.follow(),
                high_risk.follow(),
                register.follow(),
            ):
                loops.create_task(_for_ever(loop))
            ready()


async def _short_lived(
    closing: contextlib.AsyncExitStack,
    settings: Settings,
    data: DataDirectory,
    clock: Clock,
    randomness: Randomness,
) -> tuple[Nonces, Buckets, Callable[[], Awaitable[Standing]] | None]:
    """And how their home stands, if that can change."""
    if not settings.redis.url:
        return MemoryNonces(randomness, "app"), MemoryBuckets(), None
    server, prefix = redis.Server(settings.redis, clock), settings.redis.prefix
    closing.push_async_callback(server.close)
    secret = NonceSecret.load(settings.redis.secret_file, data.nonces, randomness)
    nonces = RedisNonces(server, prefix, secret, clock, randomness)
    try:
        await nonces.ready()
    except redis.Unfit as unfit:
        raise ConfigurationError(str(unfit)) from unfit
    except TransientError as away:
        # A CA answers for what it has issued, also while this is away.
        _log.error("%s; what needs a nonce is answered with 503 until it is back", away)
    return nonces, RedisBuckets(server, prefix), lambda: look(server, prefix, secret)


def _logs(settings: Settings, clock: Clock, randomness: Randomness) -> Logs | None:
    if settings.ct.mode is CtMode.OFF:
        return None
    return Logs(LogLists(settings.ct, clock), settings.ct, settings.ca.rules, clock, randomness)


def _log_handlers(
    database: Database, logs: Logs | None, issuance: Issuance, clock: Clock
) -> dict[str, Handler]:
    if logs is None:
        return {}
    return {finals.KIND: finals.FinalJob(database, logs, issuance.chain_of, clock)}


async def _open_database(settings: Settings, data: DataDirectory, clock: Clock, copy: AuditCopy) -> Database:
    tables.migrate(data.database, clock)
    database = Database(
        data.database,
        clock,
        group_commit=settings.database.group_commit,
        busy_timeout=settings.database.busy_timeout,
        copy=copy,
    )
    await database.open()
    return database


def _binding_secret(
    settings: Settings, data: DataDirectory, database: Database, clock: Clock, randomness: Randomness
) -> BindingSecret:
    secret = BindingSecret.load(settings.acme.binding_secret_file, data.bindings, randomness)
    if lost := bindings.lost(database.reader, secret.fingerprint, clock.latest()):
        _log.error("%s", lost)
    return secret


async def _describe(vault: Vault, clock: Clock) -> Description:
    """The vault's description, once it answers."""
    deadline = clock.monotonic() + VAULT_PATIENCE
    while True:
        try:
            return await vault.describe()
        except TransientError as error:
            if clock.monotonic() > deadline:
                raise ConfigurationError(
                    f"the vault does not answer ({error}): see that it runs, and its log vault.log"
                ) from error
            await asyncio.sleep(0.1)


def _must_fit(description: Description, settings: Settings) -> None:
    """Raises `ConfigurationError` when the settings are another CA's than the sealed hierarchy."""
    if description.rules != settings.ca.rules.value:
        raise ConfigurationError(
            f"ca.rules = {settings.ca.rules.value!r}, but this CA was made under {description.rules!r} rules "
            "and its hierarchy seals that: set it back, or make a new CA in another --data"
        )
    prerequisites.must_be_pinned(settings, description.perspectives)


async def _until_broken(database: Database, data: DataDirectory) -> None:
    """A writer whose commit failed trusts its file no more: this process ends, the next one opens it anew.

    So it is with a file that somebody else has replaced; the next process is closed until people have looked.
    Meanwhile the status process goes on answering from what was committed.
    """
    broken = asyncio.ensure_future(database.broken())
    while not (await asyncio.wait([broken], timeout=1))[0]:
        await database.look()
    if database.replaced:
        reconcile.mark(data, f"the app, since {database.replaced}")
    raise HaltIssuance("the database could not commit: this process ends, to open it anew")


async def _front_when_usable(front: Server, tls: DirectoryTls) -> None:
    """A vault that was locked at the first start ever has no TLS certificate for us until people come."""
    waited = not tls.usable.is_set()
    await tls.usable.wait()
    if waited:
        await front.start()
    await asyncio.Event().wait()


async def _for_ever(loop: Coroutine[Any, Any, None]) -> None:
    await loop
    # A task group takes a plain return for success; here it would leave a CA without its worker.
    raise RuntimeError(f"{loop} ended, but it must never")
