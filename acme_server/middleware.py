"""What every answer has: a problem document when it failed, Replay-Nonce, Link, and a line in the access log.

One middleware does it all: each layer of them costs 20 us of every request.

Must never: let an exception's text, a traceback or a path of ours leave the process.
RFC 8555 sections 6.5, 6.7, 7.1; RFC 9457.
"""

from __future__ import annotations

import logging
from functools import cache

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict
from prometheus_client import Counter, Histogram

from acme_server import problems
from acme_server.context import Context
from acme_server.exchange import Reply
from acme_server.problems import ErrorType, malformed, refusal
from core.errors import HaltIssuance, Problem, TransientError
from core.metrics import REGISTRY, SECONDS

RETRY_AFTER = 30
"""Seconds to wait when we cannot serve for a fault of our own."""

REQUESTS = Counter(
    "acme_requests", "Requests answered, by resource and status.", ("resource", "status"), registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "acme_request_seconds", "Time to answer.", ("resource",), buckets=SECONDS, registry=REGISTRY
)

_log = logging.getLogger(__name__)
_access = logging.getLogger("access")
_encode = msgspec.json.Encoder().encode


def front(context: Context) -> Middleware:
    """The one middleware."""

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = context.clock.monotonic()
        try:
            response = await handler(request)
        except Problem as problem:
            response = _problem(context, problem)
        except web.HTTPException as error:
            response = _problem(context, _of_http(error))
        except (TransientError, HaltIssuance) as error:
            _log.error("%s %s: %s", request.method, request.path, error)
            response = _problem(context, _unavailable())
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            response = _problem(context, _internal())
        # Section 6.5: MUST be in every success of a POST, SHOULD be in its errors.
        if request.method == "POST":
            response.headers["Replay-Nonce"] = context.nonces.issue()
        took = max(0.0, context.clock.monotonic() - began)
        _count(request, response.status, took)
        _access.info(
            "%s %s %s %d %.1fms %s",
            request.remote,
            request.method,
            request.raw_path,
            response.status,
            took * 1000,
            request.headers.get("User-Agent", "-"),
        )
        return response

    return serve


def _count(request: web.Request, status: int, seconds: float) -> None:
    resource = request.match_info.route.resource
    path = "other" if resource is None else resource.canonical
    requests, duration = _meters(path, status)
    requests.inc()
    duration.observe(seconds)


@cache
def _meters(path: str, status: int) -> tuple[Counter, Histogram]:
    """The meters of one resource and status; finding them by their labels costs more than counting."""
    return REQUESTS.labels(path, status), REQUEST_SECONDS.labels(path)


def render(context: Context, reply: Reply) -> web.Response:
    """The HTTP form of a handler's answer."""
    headers = _headers(context)
    headers.extend(reply.headers)
    for relation, url in reply.links:
        headers.add("Link", f'<{url}>;rel="{relation}"')
    if reply.content is None:
        return web.Response(status=reply.status, headers=headers)
    body = reply.content if isinstance(reply.content, bytes) else _encode(reply.content)
    headers["Content-Type"] = reply.content_type
    return web.Response(status=reply.status, body=body, headers=headers)


def _problem(context: Context, problem: Problem) -> web.Response:
    headers = _headers(context)
    for name, value in problem.headers.items():
        headers.add(name, value)
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    headers["Content-Type"] = problems.CONTENT_TYPE
    return web.Response(status=problem.status, body=_encode(problems.as_dict(problem)), headers=headers)


def _headers(context: Context) -> CIMultiDict[str]:
    # Nothing here may be kept by a cache: the states move (RFC 8555 section 7.2 asks it of newNonce).
    return CIMultiDict(
        {
            "Link": f'<{context.urls.directory}>;rel="index"',
            "Cache-Control": "no-store",
            "Server": "acme-server",  # else aiohttp tells its own version and Python's
        }
    )


def _of_http(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses, in our own words."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return malformed(
            f"the method is not allowed here; use {allowed} (RFC 8555 section 6.3)",
            status=405,
            headers={"Allow": allowed},
        )
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return malformed("the request body is too large", status=413)
    if error.status == 404:
        return problems.not_found("resource")
    return malformed("the request cannot be served", status=error.status if error.status >= 400 else 400)


def _internal() -> Problem:
    return refusal(
        ErrorType.SERVER_INTERNAL, "something went wrong here; it was logged, please try again later"
    )


def _unavailable() -> Problem:
    return refusal(
        ErrorType.SERVER_INTERNAL,
        "this cannot be served now; please try again later",
        status=503,
        retry_after=RETRY_AFTER,
    )
