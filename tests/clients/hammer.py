"""Other clients that do not stop: each takes a nonce and spends it at once, again and again."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, TCPConnector

from tests.support.acme_client import AcmeClient
from tests.support.ca import RunningCa

CLIENTS = 8
MOST_SECONDS = 60
PAUSE = 0.01
"""Between two requests of a client: the server is to be busy, not the machine full."""


@contextmanager
def hammered(ca: RunningCa) -> Iterator[list[int]]:
    """While `CLIENTS` accounts ask for themselves without a pause; gives the statuses of all answers."""
    answers: list[int] = []
    enough = threading.Event()

    async def client() -> None:
        trust = ssl.create_default_context(cafile=str(ca.trust_anchor))
        async with ClientSession(connector=TCPConnector(ssl=trust)) as http:
            acme = AcmeClient(http, ca.base_url)
            await acme.register()
            assert acme.kid is not None
            until = time.monotonic() + MOST_SECONDS
            while not enough.is_set() and time.monotonic() < until:
                answers.append((await acme.post(acme.kid)).status)
                # Half of the nonces are drawn and never used, as by clients that went away.
                await acme.get("/acme/new-nonce", "HEAD")
                await asyncio.sleep(PAUSE)

    async def all_of_them() -> None:
        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        enough.set()
        thread.join()
