"""Validation's tests run on uvloop, as its process does: its sockets fail in ways of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of `operations.process`."""
    return {"uvloop": uvloop.new_event_loop}
