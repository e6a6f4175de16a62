"""What every answer has: a problem document when it failed, Replay-Nonce, Link, and a count in the metrics.

Must never: let an exception's text, a traceback or a path of ours leave the process.
RFC 8555 sections 6.5, 6.7, 7.1; RFC 9457.
"""

from __future__ import annotations

import hashlib
import logging
from functools import cache

import msgspec
from prometheus_client import Counter, Histogram

from acme_server import problems
from acme_server.context import Context
from acme_server.exchange import Reply
from acme_server.http import Headers, Request, Response
from acme_server.problems import ErrorType, refusal
from acme_server.routes import Routes
from core import metrics
from core.errors import HaltIssuance, Problem, TransientError
from core.metrics import REGISTRY, SECONDS

RETRY_AFTER = 30
"""Seconds to wait when we cannot serve for a fault of our own."""

OTHER = "other"
"""The metrics' word for what is no resource of ours."""

REQUESTS = Counter(
    "acme_requests", "Requests answered, by resource and status.", ("resource", "status"), registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "acme_request_seconds", "Time to answer.", ("resource",), buckets=SECONDS, registry=REGISTRY
)

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Answers:
    """The application that `acme_server.http` serves."""

    def __init__(self, context: Context, routes: Routes) -> None:
        self._context = context
        self._routes = routes
        self._common = (
            ("Link", f'<{context.urls.directory}>;rel="index"'),
            ("Server", "acme-server"),
        )

    async def answer(self, request: Request) -> Response:
        """The answer to a request, whatever happens."""
        began = self._context.clock.monotonic()
        template = OTHER
        try:
            resource, values = self._routes.find(request.path)
            template = resource.template
            response = await resource.serve(request.method)(request, values)
        except Problem as problem:
            response = self._problem(problem)
        except (TransientError, HaltIssuance) as error:
            _log.error("%s %s: %s", request.method, request.path, error)
            response = self._problem(_UNAVAILABLE)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            response = self._problem(_INTERNAL)
        headers = self._headers(response)
        if request.method == "POST":
            # Section 6.5: MUST be in every success of a POST, SHOULD be in its errors.
            headers += await self._replay_nonce()
        requests, duration = _meters(template, response.status)
        requests.inc()
        duration.observe(max(0.0, self._context.clock.monotonic() - began))
        return Response(response.status, headers, response.body)

    async def _replay_nonce(self) -> Headers:
        try:
            return (("Replay-Nonce", await self._context.nonces.issue()),)
        except (TransientError, HaltIssuance) as error:
            # What was done is done, and the client must hear of it; newNonce has the next one (section 7.2).
            _log.error("an answer goes without a nonce: %s", error)
            return ()

    def refuse(self, problem: Problem) -> Response:
        """The answer to octets that are no request."""
        _meters(OTHER, problem.status)[0].inc()
        response = self._problem(problem)
        return Response(response.status, self._headers(response), response.body)

    def _headers(self, response: Response) -> Headers:
        """No cache may keep an answer that does not say otherwise: states move (section 7.2: newNonce)."""
        if any(name == "Cache-Control" for name, _ in response.headers):
            return self._common + response.headers
        return self._common + _NOT_KEPT + response.headers

    def _problem(self, problem: Problem) -> Response:
        headers = (*problem.headers.items(), ("Content-Type", problems.CONTENT_TYPE))
        if problem.retry_after is not None:
            headers += (("Retry-After", str(problem.retry_after)),)
        if problem.type == ErrorType.RATE_LIMITED:
            metrics.LIMITED.labels(problem.extra["limit"]).inc()
            # Section 6.6: where the limit is documented.
            headers += (("Link", f'<{self._context.urls.limits}#{problem.extra["limit"]}>;rel="help"'),)
        return Response(problem.status, headers, _encode(problems.as_dict(problem)))


def render(reply: Reply) -> Response:
    """The HTTP form of a handler's answer."""
    headers = tuple(reply.headers.items())
    if reply.links:
        headers += tuple(("Link", f'<{url}>;rel="{relation}"') for relation, url in reply.links)
    if reply.content is None:
        return Response(reply.status, headers)
    body = reply.content if isinstance(reply.content, bytes) else _encode(reply.content)
    return Response(reply.status, (*headers, ("Content-Type", reply.content_type)), body)


def conditional(request: Request, response: Response) -> Response:
    """The answer with its ETag; 304 without its body when the client says that it has it."""
    tag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    headers = (*response.headers, ("ETag", tag))
    known = request.headers.get("If-None-Match", "")
    if tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(304, tuple(each for each in headers if each[0] != "Content-Type"))
    return Response(response.status, headers, response.body)


@cache
def _meters(template: str, status: int) -> tuple[Counter, Histogram]:
    """The meters of one resource and status; finding them by their labels costs more than counting."""
    return REQUESTS.labels(template, status), REQUEST_SECONDS.labels(template)


_NOT_KEPT: Headers = (("Cache-Control", "no-store"),)

_INTERNAL = refusal(
    ErrorType.SERVER_INTERNAL, "something went wrong here; it was logged, please try again later"
)
_UNAVAILABLE = refusal(
    ErrorType.SERVER_INTERNAL,
    "this cannot be served now; please try again later",
    status=503,
    retry_after=RETRY_AFTER,
)
