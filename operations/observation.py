"""Metrics (/metrics) and health (/healthz) of the app, for operators on `metrics.listen` only.

Must never: be put on a public address; name a subscriber.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from core import metrics
from core.database import Database
from core.errors import CaError
from core.settings import Settings
from operations.vault_watch import NOT_CONFORMING, VaultWatch, locked_text
from signer.client import Vault

_log = logging.getLogger(__name__)


async def start(
    closing: contextlib.AsyncExitStack,
    settings: Settings,
    vault: Vault,
    database: Database,
    watch: VaultWatch,
    halted: Callable[[], str],
) -> None:
    """Serve until `closing` closes.  `halted` says why nothing is issued, "" when nothing is in the way."""
    app = web.Application()
    health = _Health(vault, database, watch, halted)
    app.add_routes([web.get("/metrics", _metrics), web.get("/healthz", health.answer)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    closing.push_async_callback(runner.cleanup)
    for address in settings.metrics.listen:
        host, _, port = address.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


class _Health:
    """200 while the app can issue, else 503 and the reason; asked by a monitor or a load balancer."""

    def __init__(
        self, vault: Vault, database: Database, watch: VaultWatch, halted: Callable[[], str]
    ) -> None:
        self._vault = vault
        self._database = database
        self._watch = watch
        self._halted = halted

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
        return web.json_response(found, status=200 if found["status"] == "ok" else 503)
