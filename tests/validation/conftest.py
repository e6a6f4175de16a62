"""Validation's tests run on uvloop, as its process does: its sockets fail in ways of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import settings

# A busy machine is no fault of the code: how long an example takes is not asserted anywhere.
settings.register_profile("validation", deadline=None)
settings.load_profile("validation")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of `operations.process`."""
    return {"uvloop": uvloop.new_event_loop}
