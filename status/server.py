"""The status process: OCSP and the public repository for relying parties; it writes nothing but
the answers that it keeps for its next start.

It goes on when the app and the vault are away: the files and the signed answers it holds are still served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web

from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Reader
from core.randomness import Randomness
from core.settings import Settings
from signer.client import Vault
from status import app
from status.ocsp.kept import KeptAnswers
from status.ocsp.live import LiveSignatures
from status.ocsp.responder import AnswerCache, Responder
from status.pages.building import pages

_KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept; a relying party asks once and goes."""

_SIGN_TIMEOUT = 5.0
"""Seconds a relying party waits for a signature; few wait longer, and "try later" is an answer too."""

_log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    data: DataDirectory,
    clock: Clock,
    randomness: Randomness,
    ready: Callable[[], None],
) -> None:
    """Serve on `settings.repository.listen` until cancelled; `ready()` is called once we do."""
    vault = Vault(data.vault_socket, _SIGN_TIMEOUT, data.vault)
    reader = Reader(data.database, settings.database.busy_timeout)
    data.status.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = KeptAnswers(data.status / "answers.sqlite", clock.now())
    responder = Responder(
        reader,
        vault,
        clock,
        validity=settings.status.ocsp_validity,
        refresh=settings.status.ocsp_refresh,
        cache=AnswerCache(kept=kept),
        certificates=settings.status.ocsp_certificates,
        live=LiveSignatures(settings.limits, clock),
    )
    runner = web.AppRunner(
        app.build(
            responder,
            data.repository,
            clock,
            pages(settings, data, reader, responder, clock, randomness),
        ),
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE,
        handle_signals=False,
    )
    try:
        await runner.setup()
        for address in settings.repository.listen:
            host, _, port = address.rpartition(":")
            await web.TCPSite(runner, host.strip("[]"), int(port), backlog=1024).start()
        _log.info("status and repository on %s", ", ".join(map(str, runner.addresses)))
        ready()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        await vault.close()
        reader.close()
        kept.close()
