"""GET /directory (RFC 8555 section 7.1.1)."""

from __future__ import annotations

from collections.abc import Mapping

from acme_server import resources
from acme_server.context import Context
from acme_server.exchange import Reply


async def show(context: Context, path: Mapping[str, str]) -> Reply:
    """The directory."""
    return Reply(content=resources.directory(context.settings, context.urls))
