"""The pages over a real port, beside a register with issuers and a software vault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, FormData
from aiohttp.test_utils import TestServer

from core.randomness import SystemRandomness
from core.report_spool import Spool
from status import app
from status.pages.building import pages


@dataclass
class Site:
    """What a browser without scripts can do."""

    house: Any
    server: TestServer
    client: ClientSession
    spool: Spool
    pages: Sequence[Any]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(self.url(path), headers=headers) as response:
            return response.status, await response.text()

    async def challenge(self) -> str:
        return (await self.get("/report/challenge"))[1]

    async def post(
        self, path: str, fields: dict[str, str], files: dict[str, bytes] | None = None, **headers: str
    ) -> ClientResponse:
        form = FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, value)
        for name, octets in (files or {}).items():
            form.add_field(name, octets, filename="a file", content_type="application/octet-stream")
        request = self.client.post(self.url(path), data=form, headers=headers, allow_redirects=False)
        async with request as response:
            await response.read()
            return response


@asynccontextmanager
async def serving(house: Any) -> AsyncIterator[Site]:
    """The pages of a house as its settings are now."""
    made = pages(house.settings, house.data, house.reader, house.responder, house.clock, SystemRandomness())
    server = TestServer(app.build(house.responder, house.data.repository, house.clock, made))
    await server.start_server()
    async with ClientSession() as client:
        yield Site(house, server, client, Spool(house.data.reports), made)
    await server.close()


@pytest.fixture
async def site(house: Any) -> AsyncIterator[Site]:
    async with serving(house) as made:
        yield made
