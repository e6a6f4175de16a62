"""Fixtures that several rooms' tests share: the fake Internet, and a CA that runs as its real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Real name servers on loopback for the whole session; tests use names of their own in it."""
    with World() as running:
        yield running
