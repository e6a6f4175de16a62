from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from core.clock import SystemClock
from core.randomness import SystemRandomness
from operations.subscriber.local_names import connector
from operations.watch.fetch import Fetcher
from operations.watch.finding import Finding, State
from operations.watch.kept import Kept
from operations.watch.look import Looking, Wanted
from operations.watch.memory import Memory
from operations.watch.scope import Anchor, digest
from tests.support.paper_ca import PaperCa


class Watching:
    """A watch that remembers, and its CA."""

    def __init__(self, ca: PaperCa) -> None:
        self.ca = ca
        self.anchor = Anchor(digest(ca.root.certificate))
        self.memory = Memory()
        self.patience = 10.0
        self.manifest_key = ""
        self.kept: Kept | None = None

    async def look(self) -> list[Finding]:
        async with aiohttp.ClientSession(connector=connector(True)) as http:
            clock = SystemClock()
            wanted = Wanted(self.ca.url, self.anchor, manifest_key=self.manifest_key)
            looking = Looking(
                wanted, Fetcher(http, clock, self.patience), self.memory, clock, SystemRandomness()
            )
            looking.kept = self.kept
            await looking.everything()
        return looking.findings

    async def not_well(self) -> list[Finding]:
        return [each for each in await self.look() if each.state is not State.OK]


@pytest.fixture
async def watching(tmp_path: Path) -> AsyncIterator[Watching]:
    ca = await PaperCa(tmp_path).start()
    yield Watching(ca)
    await ca.stop()
