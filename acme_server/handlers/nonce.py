"""A nonce (RFC 8555 section 7.2), by HEAD (200), GET or POST-as-GET (204); never cached."""

from __future__ import annotations

from collections.abc import Mapping

from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply


async def show_head(context: Context, path: Mapping[str, str]) -> Reply:
    """HEAD: 200."""
    return await _fresh(context, 200)


async def show(context: Context, path: Mapping[str, str]) -> Reply:
    """GET: 204."""
    return await _fresh(context, 204)


async def show_to_account(context: Context, request: ByAccount) -> Reply:
    """POST-as-GET: 204; every answer to a POST has a nonce anyway (section 6.5)."""
    return Reply(204)


async def _fresh(context: Context, status: int) -> Reply:
    nonce = await context.nonces.issue()
    return Reply(status, headers={"Replay-Nonce": nonce, "Cache-Control": "no-store"})
