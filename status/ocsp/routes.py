"""OCSP by aiohttp: every form that HTTP permits, and the oracle of the small protocol in status/http.

OCSP errors are HTTP 200 with an OCSPResponse that says so (RFC 6960 appendix A.2).

RFC 6960 appendix A; RFC 9919 section 6; RFC 9110 sections 9 and 13.
"""

from __future__ import annotations

from aiohttp import web

from core.addresses import Blocks, canonical
from core.clock import Clock
from status.ocsp import request as ocsp_request
from status.ocsp.answer import MALFORMED, Answer
from status.ocsp.representation import fields, not_modified
from status.ocsp.responder import Responder

_PREFIX = "/ocsp/"
_GET, _POST = ("GET", "HEAD"), ("POST",)


class OcspResponse(web.Response):
    """An answer to a machine: it needs none of what protects a page in a browser."""


def add(router: web.UrlDispatcher, responder: Responder, clock: Clock, blocks: Blocks, max_age: int) -> None:
    """The routes /ocsp and /ocsp/...; `max_age` is the most seconds that a cache may keep an answer."""

    def asker(request: web.Request) -> str | None:
        return blocks.block(canonical(request.remote or ""))

    def response(answer: Answer) -> OcspResponse:
        return OcspResponse(body=answer.der, headers=dict(fields(answer, clock.latest(), max_age)))

    async def post(request: web.Request) -> web.Response:
        if request.content_type != "application/ocsp-request":
            return web.Response(status=415, text="send an OCSPRequest as application/ocsp-request\n")
        return response(await responder.answer(await request.read(), asker(request)))

    async def get(request: web.Request) -> web.Response:
        try:
            der = ocsp_request.of_path(_tail(request.raw_path))
        except ocsp_request.MalformedRequest:
            return response(MALFORMED)
        answer = await responder.answer(der, asker(request))
        found = response(answer)
        given = request.headers
        if not_modified(answer, given.get("If-None-Match"), given.get("If-Modified-Since")):
            del found.headers["Content-Type"]  # there is no content
            return OcspResponse(status=304, headers=found.headers)
        return found

    async def other(request: web.Request) -> web.Response:
        allowed = _POST if request.path == "/ocsp" else _GET + _POST if request.path == _PREFIX else _GET
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    router.add_post("/ocsp", post)
    router.add_post("/ocsp/", post)
    router.add_get("/ocsp/{request:.*}", get)
    router.add_route("*", "/ocsp", other)
    router.add_route("*", "/ocsp/{request:.*}", other)


def _tail(target: str) -> str:
    """What follows "/ocsp/" in a request's target, which may be a whole URL (RFC 9112 section 3.2.2).

    Of the raw target: a library that unescapes or normalises would change the base64.
    """
    if not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target.partition("?")[0].removeprefix(_PREFIX)
