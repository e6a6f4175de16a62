"""The directory (RFC 8555 section 7.1.1), by GET or POST-as-GET (section 6.3)."""

from __future__ import annotations

from collections.abc import Mapping

from acme_server import resources
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply
from acme_server.registration.profiles import advertised


async def show(context: Context, path: Mapping[str, str]) -> Reply:
    """GET."""
    return Reply(content=resources.directory(context.settings, context.urls, advertised(context.settings)))


async def show_to_account(context: Context, request: ByAccount) -> Reply:
    """POST-as-GET: the same."""
    return await show(context, request.path)
