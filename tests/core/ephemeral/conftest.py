"""Both homes of short-lived state, one after the other, for the tests that hold for either."""

from __future__ import annotations

import pytest

from core.ephemeral import Buckets
from core.ephemeral.memory_buckets import MemoryBuckets


@pytest.fixture(params=["memory"])
def buckets(request: pytest.FixtureRequest) -> Buckets:
    """Empty buckets."""
    return MemoryBuckets()
