"""Metrics (/metrics) and health (/healthz) of the app, for operators on `metrics.listen` only.

Must never: be put on a public address; name a subscriber.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from acme_server.store import holds
from core import metrics
from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Database
from core.ephemeral.redis.standing import Standing
from core.errors import CaError
from core.settings import Settings
from operations.alarms import deadlines, keeper, reports
from operations.alarms.vault import NOT_CONFORMING, VaultWatch, locked_text
from signer.client import Vault

_log = logging.getLogger(__name__)


async def start(
    closing: contextlib.AsyncExitStack,
    settings: Settings,
    vault: Vault,
    database: Database,
    watch: VaultWatch,
    halted: Callable[[], str],
    clock: Clock,
    redis: Callable[[], Awaitable[Standing]] | None,
    data: DataDirectory,
) -> None:
    """Serve until `closing` closes.

    `halted` says why nothing is issued, "" when nothing is in the way; `redis`, where it is used, how
    it stands.
    """
    app = web.Application()
    health = _Health(
        vault, database, watch, halted, clock, redis, lambda: keeper.alarm(data, settings, clock.now())
    )

    async def measured(request: web.Request) -> web.Response:
        with contextlib.suppress(sqlite3.Error, CaError):  # the others are wanted all the more
            metrics.HELD.set((await database.read(holds.count))[0])
            keeper.measure(data, clock.now())
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app.add_routes([web.get("/metrics", measured), web.get("/healthz", health.answer)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    closing.push_async_callback(runner.cleanup)
    for address in settings.metrics.listen:
        host, _, port = address.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()


class _Health:
    """200 while the app can issue, else 503 and the reason; asked by a monitor or a load balancer."""

    def __init__(
        self,
        vault: Vault,
        database: Database,
        watch: VaultWatch,
        halted: Callable[[], str],
        clock: Clock,
        redis: Callable[[], Awaitable[Standing]] | None,
        answers: Callable[[], str],
    ) -> None:
        self._answers = answers
        self._vault = vault
        self._database = database
        self._watch = watch
        self._halted = halted
        self._clock = clock
        self._redis = redis

    async def answer(self, request: web.Request) -> web.Response:
        found: dict[str, Any] = {"status": "ok", "vault": "ok", "database": "ok", "issuance": "ok"}
        state = self._watch.state
        if state is not None and not state.threshold:
            found["conformance"] = NOT_CONFORMING
        if state is not None and state.halted:
            found |= {"status": "degraded", "issuance": f"halted by {state.halted}"}
        if halted := self._halted():
            found |= {"status": "degraded", "issuance": halted}
        if state is not None and state.locked:
            found |= {"status": "degraded", "vault": locked_text(state)}
        try:
            await self._vault.describe()
        except CaError as error:
            found |= {"status": "degraded", "vault": str(error)}
        try:
            # Writes nothing, but asks the writer: a full disk or a clock that stepped back stops it.
            await self._database.write(lambda tx: None)
        except CaError as error:
            found |= {"status": "degraded", "database": str(error)}
        try:
            if self._redis is not None:
                standing = await self._redis()
                found["redis"] = standing.lately(self._clock.now()) or "ok"
        except CaError as error:
            found |= {"status": "degraded", "redis": str(error)}
        with contextlib.suppress(CaError):  # a clock that stepped back: the writer has said so above
            if alarm := self._answers():
                found |= {"status": "degraded", "ocsp": alarm}
        waiting, _ = await self._database.read(holds.count)
        if waiting:
            found["holds"] = f"{waiting} orders wait for a person: acme-server holds list"
        with contextlib.suppress(CaError):  # a clock that stepped back is told of above
            now = self._clock.now()
            told = await self._database.read(lambda rows: reports.standing(rows, now))
            if says := reports.sentence(told):
                found["problem_reports"] = says
            urgent = await self._database.read(lambda rows: deadlines.urgent(rows, now))
            if urgent:  # no reason to send subscribers elsewhere
                found["revocations"] = [each.says(now) for each in urgent]
        return web.json_response(found, status=200 if found["status"] == "ok" else 503)
