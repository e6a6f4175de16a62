"""The public HTTP server of relying parties: OCSP by POST and GET, and the static repository beside it.

Nearly all OCSP is answered before it comes here, by status/http; what comes is whatever is not plain.

RFC 9919 sections 6 and 7 (cache headers of answers); RFC 9112 section 3.2 (Host).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11

from core.addresses import Blocks
from core.clock import Clock
from repo_static import app as repository
from status.ocsp import request as ocsp_request
from status.ocsp import routes as ocsp_routes
from status.ocsp.responder import Responder
from status.pages.building import Page

BODY_TIME = 30.0
"""Seconds in which a request with a body must be there and be answered; a signature takes five at most."""

MAX_AGE = 3600
"""Seconds. A cache may keep an answer until nextUpdate, but then a revocation would take days to be seen."""


def build(
    responder: Responder,
    root: Path,
    clock: Clock,
    pages: Sequence[Page] = (),
    blocks: Blocks | None = None,
    max_age: int = MAX_AGE,
) -> web.Application:
    """The application: `responder` at /ocsp, `pages`, the public tree below `root` everywhere else.

    `blocks` knows the proxies in front; `max_age` is settings.status.ocsp_max_age.
    """
    app = web.Application(client_max_size=ocsp_request.MAX_OCTETS, middlewares=[_http_1])
    ocsp_routes.add(app.router, responder, clock, blocks or Blocks(), max_age)
    for page in pages:
        page.add_to(app.router)
    app.router.add_route("*", "/{path:.*}", repository.handler(root))
    app.on_response_prepare.append(_add_headers)
    return app


@web.middleware
async def _http_1(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What aiohttp lets through and the RFC does not, and a body that does not come."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise web.HTTPVersionNotSupported(text="only HTTP/1.1 is spoken here\n")
    if request.version == HttpVersion11 and len(request.headers.getall("Host", ())) != 1:
        raise web.HTTPBadRequest(text="there must be one Host field (RFC 9112 section 3.2)\n")
    if not request.body_exists:
        return await handler(request)
    try:
        async with asyncio.timeout(BODY_TIME):
            return await handler(request)
    except TimeoutError:
        late = web.Response(status=408, text="the request did not come in time\n")
        late.force_close()
        return late


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(response, ocsp_routes.OcspResponse):
        # No browser shows it: 300 octets less on each of very many.
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Server"] = "acme-server"
    else:
        await repository.add_security_headers(request, response)
