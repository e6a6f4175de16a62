"""A perspective's doors to its coordinator on another host: POST /dcv, /caa and our own
/preflight, GET /healthz and /configz.

Mutual TLS 1.3 under the channel's own root; whoever is not the coordinator gets no answer.  A request that
names what is to be attested gets a signed statement; any other is a stock Open MPIC coordinator's and is
answered plainly.  Nothing is kept from one request to the next.

Must never: sign for a request without its `attest`, or tell a caller the inside of a fault of ours.

BR 3.2.2.9; docs/adr/0017-remote-perspectives.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from core.clock import Clock
from core.errors import CaError, ConfigurationError, HaltIssuance, Refused, TransientError
from validation.api import CheckRequest, Health, PreflightRequest
from validation.checker import Checker
from validation.mpic import open_mpic, translation
from validation.mpic.mutual_tls import Identity
from validation.mpic.open_mpic import CaaRequest, CheckError, CheckResponse, DcvRequest, Refusal
from validation.preflight import Scout

REQUEST_SECONDS = 15.0
"""After that no coordinator waits any more (validation/mpic/client.py)."""

HANDSHAKE_SECONDS = 5.0
"""A handshake that is not done by then ends.  How many may be half open, a firewall says (ADR 17)."""

WARM_SECONDS = 90.0
"""An idle connection is kept longer than our coordinator keeps it (validation/mpic/peer.py)."""

LOOK_SECONDS = 30.0
"""Between two looks for a renewed certificate."""

WARN_EVERY = 120
"""Looks between two warnings of the certificate's end: an hour."""

FIELD_OCTETS = 4096
FIELDS = 32

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


class Doors:
    """What the coordinator may ask."""

    def __init__(
        self,
        checker: Checker,
        scout: Scout | None,
        identities: Collection[str],
        coordinator: str,
        health: Callable[[], Health],
        clock: Clock,
    ) -> None:
        """`identities` are our CAA issuer domain names, `coordinator` the name in its certificate.

        Without a `scout` nothing is looked at beforehand.
        """
        self._checker = checker
        self._scout = scout
        self._identities = tuple(identity.lower() for identity in identities)
        self._coordinator = coordinator
        self._health = health
        self._clock = clock

    def application(self) -> web.Application:
        @web.middleware
        async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._admit(request, handler)

        application = web.Application(middlewares=[admit], client_max_size=open_mpic.REQUEST_OCTETS)
        application.add_routes(
            [
                web.post("/dcv", self._dcv),
                web.post("/caa", self._caa),
                web.post("/preflight", self._preflight),
                web.get("/healthz", self._healthz),
                web.get("/configz", self._configz),
            ]
        )
        return application

    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer the coordinator alone, and every fault by its status and a body that a peer can read."""
        try:
            if stranger := self._stranger(request):
                _log.error("a caller at %s is refused: %s", request.remote, stranger)
                return _error(403, "open-mpic.stranger", stranger)
            async with asyncio.timeout(REQUEST_SECONDS):
                return await handler(request)
        except Refused as error:
            status = 400 if error.code == "open-mpic.malformed" else 422
            return _error(status, error.code, error.detail)
        except HaltIssuance as error:
            _log.critical("%s", error)
            return _error(503, "serverInternal", str(error))
        except CaError as error:
            return _error(503, "serverInternal", str(error))
        except TimeoutError:
            return _error(503, "serverInternal", f"not done within {REQUEST_SECONDS:.0f} s")
        except web.HTTPException as error:
            return _error(error.status, "malformed", error.reason)
        except Exception:
            _log.exception("%s failed", request.path)
            return _error(500, "serverInternal", "a fault of the perspective; its log says more")

    def _stranger(self, request: web.Request) -> str:
        """Why the caller is not the coordinator; "" when it is."""
        certificate = request.get_extra_info("peercert") or {}
        names = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
        if self._coordinator not in names:
            return (
                f"its certificate is for {', '.join(sorted(names)) or 'nobody'}, not for {self._coordinator}"
            )
        # The handshake looked at the dates, but a warm connection may be older than the certificate's end.
        if ssl.cert_time_to_seconds(certificate["notAfter"]) < self._clock.now():
            return f"the certificate of {self._coordinator} has ended"
        return ""

    async def _dcv(self, request: web.Request) -> web.Response:
        asked = open_mpic.decode(await request.read(), DcvRequest)
        method = translation.method_word(asked)
        check = translation.attested(asked, self._identities)
        if check is not None:
            return await self._attested(check, method)
        acme, challenge = translation.challenge(asked, self._identities)
        control = await self._checker.unsigned_control(acme, challenge)
        return _answer(translation.control_response(control, method, self._clock.now()))

    async def _caa(self, request: web.Request) -> web.Response:
        asked = open_mpic.decode(await request.read(), CaaRequest)
        check = translation.attested(asked, self._identities)
        if check is not None:
            return await self._attested(check, "")
        name, issuance = translation.issuance(asked, self._identities)
        seen = await self._checker.unsigned_caa(name, issuance)
        return _answer(translation.caa_response(seen, self._clock.now()))

    async def _attested(self, check: CheckRequest, method: str) -> web.Response:
        return _answer(translation.attestation_response(await self._checker.check(check), method))

    async def _preflight(self, request: web.Request) -> web.Response:
        asked = open_mpic.decode(await request.read(), PreflightRequest)
        if self._scout is None:
            raise Refused("preflight.gateway", "a stock Open MPIC service looks here, and not beforehand")
        preview = await self._scout.preview(asked)
        return web.Response(body=open_mpic.encode(preview), content_type="application/json")

    async def _healthz(self, request: web.Request) -> web.Response:
        self._clock.now()  # one that stepped back is no health
        if trouble := self._health().trouble:
            raise TransientError(trouble)
        return web.json_response({"status": "ok"})

    async def _configz(self, request: web.Request) -> web.Response:
        return web.Response(body=open_mpic.encode(self._health()), content_type="application/json")


@asynccontextmanager
async def open_doors(
    doors: Doors, listen: Sequence[str], identity: Identity, connections: int, clock: Clock
) -> AsyncIterator[list[int]]:
    """Listen on the addresses while the context lasts; yields the ports.

    Raises `ConfigurationError` when an address cannot be had.
    """
    runner = web.AppRunner(
        doors.application(),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=WARM_SECONDS,
        max_line_size=FIELD_OCTETS,
        max_field_size=FIELD_OCTETS,
        max_headers=FIELDS,
        auto_decompress=False,
    )
    await runner.setup()
    servers: list[asyncio.Server] = []
    renewing = asyncio.create_task(keep_renewed(identity, clock))
    try:
        for each in listen:
            servers.append(await _listen(each, runner, identity.context, connections))
        yield [int(each.getsockname()[1]) for server in servers for each in server.sockets]
    finally:
        renewing.cancel()
        for server in servers:
            server.close()
        await runner.cleanup()
        await asyncio.gather(renewing, return_exceptions=True)


async def keep_renewed(identity: Identity, clock: Clock) -> None:
    """Take renewed files and warn of the certificate's end, for ever."""
    looks = 0
    while True:
        identity.refresh()
        with contextlib.suppress(HaltIssuance):  # a clock that stepped back is told by the checks
            if looks % WARN_EVERY == 0 and (warning := identity.warning(clock.now())):
                _log.warning("%s", warning)
        looks += 1
        await asyncio.sleep(LOOK_SECONDS)


async def _listen(
    address: str, runner: web.AppRunner, context: ssl.SSLContext, connections: int
) -> asyncio.Server:
    host, _, port = address.rpartition(":")
    server = runner.server
    assert server is not None

    def connection() -> asyncio.Protocol:
        return server() if len(server.connections) < connections else _Full()

    try:
        return await asyncio.get_running_loop().create_server(
            connection,
            host.strip("[]"),
            int(port),
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )
    except OSError as error:
        raise ConfigurationError(
            f"mpic.listen: cannot listen on {address} ({error.strerror}); free it, or choose another"
        ) from error


class _Full(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _answer(response: CheckResponse) -> web.Response:
    return web.Response(body=open_mpic.encode(response), content_type="application/json")


def _error(status: int, kind: str, message: str) -> web.Response:
    body = open_mpic.encode(Refusal((CheckError(kind, message),)))
    return web.Response(status=status, body=body, content_type="application/json")
