"""What a check would meet, looked at beforehand: the name servers, the ports, CAA.  It proves nothing.

The same eyes, the same address policy and the same dialer as a check, with places of its own, so that whoever
tries things out never takes one from a validation; and shorter limits, since a person waits.

Must never: sign, or say that control was shown.  BR 3.2.2.4; RFC 8555 section 8.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from core import facts
from core.clock import Clock
from core.errors import Refused
from core.evidence import SignedStatement, Statement
from core.identifiers import split_wildcard
from core.outcome import Seen
from core.registered_domain import registered_domain
from validation import caa
from validation.api import OLDER_KEYS, PreflightRequest, Preview, Prospect
from validation.challenge import Challenge, Shown, Tools
from validation.checker import THUMBPRINT, TOKEN, Checker
from validation.dns.canary import Canary
from validation.hosts.dialer import DialLimits, GuardedDialer, NoAcmeTls
from validation.limiter import Limiter
from validation.methods import CHECKS, http01, tls_alpn01, txt
from validation.verdict import Trace

PLACES = 10
"""At once in all: a twentieth of what validations have."""

PER_DOMAIN = 2
PER_ACCOUNT = 5
PER_NETWORK = 2
"""Connections at once to one network: one for each of two ports."""

PATIENCE = 2.5
"""Seconds that one waits for a place: many names of one order lie below one domain."""

LIMITS = DialLimits(connect_v6=2.0, connect=3.0, read=3.0, hop=4.0, check=5.0, tls_alpn=5.0, busy=2.0)
"""A host that needs longer is told so; it may still have its certificate, by a hair."""

_log = logging.getLogger(__name__)


class Nobody:
    """Signs nothing."""

    def sign(self, statement: Statement) -> SignedStatement:
        raise AssertionError("a preflight signs nothing")


class Scout(Checker):
    """Looks as a checker does, at what is there before anything is published."""

    def __init__(
        self,
        code: str,
        tools: Tools,
        identities: frozenset[str],
        enabled: frozenset[str],
        clock: Clock,
        *,
        public: bool,
        canary: Canary | None = None,
        limits: DialLimits = LIMITS,
    ) -> None:
        """As `Checker`; of `tools` the dialer is replaced by one of its own."""
        super().__init__(
            code,
            Nobody(),
            replace(tools, dialer=GuardedDialer(limits, PER_NETWORK)),
            Limiter(PLACES, registered_domain, PER_DOMAIN, PER_ACCOUNT, PER_DOMAIN, PATIENCE),
            identities,
            enabled,
            clock,
            public=public,
            canary=canary,
        )

    async def preview(self, request: PreflightRequest) -> Preview:
        """What each method would meet, and CAA.

        Raises: `Refused` for a request that makes no sense; `TransientError` when all is busy.
        """
        if not request.methods or len(set(request.methods)) != len(request.methods):
            raise Refused("preflight.methods", "name each method once, and at least one")
        for method in request.methods:
            self._require_method(method)
        self._require_name(request.name)
        if not TOKEN.fullmatch(request.token):
            raise Refused("preflight.token", "the token is not base64url (RFC 8555 section 8.1)")
        keys = request.thumbprints
        if not 0 < len(keys) <= OLDER_KEYS + 1 or not all(map(THUMBPRINT.fullmatch, keys)):
            raise Refused("preflight.thumbprints", "name the thumbprints of the account's keys")
        base, wildcard = split_wildcard(request.name)
        issuance = caa.Issuance(wildcard, self._identities, request.account_url, request.methods[0])
        challenge = Challenge.of(base, wildcard, request.account_url, request.token, keys[0], keys[1:])
        traces = {method: Trace() for method in request.methods}
        climb = Trace()
        async with self._limiter.room(base, request.account_url):
            began = self._clock.monotonic()
            controls, seen = await asyncio.gather(
                asyncio.gather(*(self._control(each, challenge, trace) for each, trace in traces.items())),
                self._caa(base, issuance, climb),
            )
        prospects = tuple(
            Prospect(
                each.method,
                Seen(each.result, each.problem, each.detail),
                facts.encode(traces[each.method].facts(Trace())),
            )
            for each in controls
        )
        told = ", ".join(f"{each.method} {each.seen.result}" for each in prospects)
        _log.info("preflight of %s: %s", request.name, told)
        took = round(1000 * (self._clock.monotonic() - began))
        return Preview(self._code, prospects, seen, facts.encode(Trace().facts(climb)), took)

    async def see_control(self, method: str, challenge: Challenge, trace: Trace) -> Shown:
        """Returns when a client that does its part would get through.  Raises `CheckFailed`."""
        if method == "http-01":
            # Whatever the status: the file is not there yet.
            await http01.visit(challenge, self._tools, trace)
        elif method == "tls-alpn-01":
            with contextlib.suppress(NoAcmeTls):  # its client sets that up for the time of the challenge
                await tls_alpn01.visit(challenge, self._tools, trace)
        elif method == "dns-persist-01":
            return await CHECKS[method](challenge, self._tools, trace)
        else:
            # Of the name itself: whoever asks for the record before it is there has "no such name" in the
            # resolver's cache when it is, and fails the very validation that was foretold to pass.
            await txt.visit(challenge.name, self._tools, trace)
        return Shown()
