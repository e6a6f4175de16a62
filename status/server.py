"""The status process: OCSP and the public repository for relying parties; it writes nothing.

It goes on when the app and the vault are away: the files and the signed answers it holds are still served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from aiohttp import web

from core import register_mark
from core.addresses import Blocks
from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.randomness import Randomness
from core.reader import PatientReader
from core.settings import Settings
from signer.client import Vault
from status import app
from status.http import handed
from status.http.front import Front
from status.ocsp.index.index import Index
from status.ocsp.live import LiveSignatures
from status.ocsp.responder import Responder
from status.pages.building import pages

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
    mark = partial(register_mark.heed, data.register_mark, clock)
    reader = PatientReader(data.database, settings.database.busy_timeout, clock, mark)
    responder = Responder(
        reader,
        vault,
        clock,
        validity=settings.status.ocsp_validity,
        refresh=settings.status.ocsp_refresh,
        index=Index(data.answers, clock),
        certificates=settings.status.ocsp_certificates,
        live=LiveSignatures(settings.limits, clock),
    )
    blocks = Blocks(settings.acme.trusted_proxies)
    max_age = settings.status.ocsp_max_age
    served = pages(settings, data, reader, responder, clock, randomness)
    runner = web.AppRunner(
        app.build(responder, data.repository, clock, served, blocks, max_age),
        access_log=None,
        handle_signals=False,
    )
    await runner.setup()
    front = Front(responder, handed.handler(runner), settings.limits, blocks, clock, max_age)
    looking = asyncio.create_task(front.look())
    servers: list[asyncio.Server] = []
    try:
        for address in settings.repository.listen:
            servers.append(await _listen(front, address, settings.status.workers > 1))
        _log.info("status and repository on %s", ", ".join(settings.repository.listen))
        ready()
        await asyncio.Event().wait()
    finally:
        for server in servers:
            server.close()
        front.close()
        looking.cancel()
        await runner.cleanup()
        await vault.close()
        reader.close()


async def _listen(front: Front, address: str, together: bool) -> asyncio.Server:
    """`together` with other workers.  Raises: `ConfigurationError` when the address cannot be had."""
    try:
        bound = handed.listening(address, shared=together)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {address}: {error.strerror}; free it, or change repository.listen"
        ) from error
    return await asyncio.get_running_loop().create_server(front, sock=bound, backlog=1024)
