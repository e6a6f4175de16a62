"""Fixtures of the front's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.acme_client import AcmeClient
from tests.support.acme_front import Front, running


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """The front with default settings."""
    async with running(tmp_path) as opened:
        yield opened


@pytest.fixture
async def subscriber(front: Front) -> AcmeClient:
    """A client with an account at the front."""
    return await front.subscriber()
