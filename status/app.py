"""The public HTTP server of relying parties: OCSP by POST and GET, and the static repository beside it.

OCSP errors are HTTP 200 with an OCSPResponse that says so (RFC 6960 appendix A.2).

RFC 9919 sections 5 and 6 (cache headers of GET answers).
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

from aiohttp import web

from core.clock import Clock
from repo_static import app as repository
from status.ocsp import request as ocsp_request
from status.ocsp.answer import MALFORMED, Answer
from status.ocsp.responder import Responder
from status.pages.building import Page

MAX_AGE = 3600
"""Seconds. A cache may keep an answer until nextUpdate, but then a revocation would take days to be seen."""

_CONTENT_TYPE = "application/ocsp-response"
_PREFIX = "/ocsp/"


def build(responder: Responder, root: Path, clock: Clock, pages: Sequence[Page] = ()) -> web.Application:
    """The application: `responder` at /ocsp, `pages`, the public tree below `root` everywhere else."""
    app = web.Application(client_max_size=ocsp_request.MAX_OCTETS)

    async def post(request: web.Request) -> web.Response:
        if request.content_type != "application/ocsp-request":
            return web.Response(status=415, text="send an OCSPRequest as application/ocsp-request\n")
        return _response(await responder.answer(await request.read()))

    async def get(request: web.Request) -> web.Response:
        try:
            # The raw path: a library that unescapes or normalises would change the base64.
            der = ocsp_request.of_path(request.raw_path.partition("?")[0].removeprefix(_PREFIX))
        except ocsp_request.MalformedRequest:
            return _response(MALFORMED)
        answer = await responder.answer(der)
        response = _response(answer)
        if answer.next_update is not None and answer.this_update is not None:
            _add_cache_headers(response, answer, clock.now())
            if response.etag is not None and response.etag in (request.if_none_match or ()):
                response.set_status(304)
                response.body = None
        return response

    app.router.add_post("/ocsp", post)
    app.router.add_post("/ocsp/", post)
    app.router.add_route("GET", "/ocsp/{request:.+}", get)
    for page in pages:
        page.add_to(app.router)
    app.router.add_route("*", "/{path:.*}", repository.handler(root))
    app.on_response_prepare.append(repository.add_security_headers)
    return app


def _response(answer: Answer) -> web.Response:
    response = web.Response(body=answer.der, content_type=_CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"  # errors pass; POST answers are not cached anyway
    return response


def _add_cache_headers(response: web.Response, answer: Answer, now: int) -> None:
    assert answer.this_update is not None
    assert answer.next_update is not None
    seconds = max(0, min(MAX_AGE, answer.next_update - now))
    response.headers["Cache-Control"] = f"max-age={seconds}, public, no-transform, must-revalidate"
    response.headers["Last-Modified"] = formatdate(answer.this_update, usegmt=True)
    response.headers["Expires"] = formatdate(answer.next_update, usegmt=True)
    response.etag = answer.etag
