"""One perspective's work: look at a name, and sign what was seen, whatever it was.

Control and CAA are looked at together and stand in one statement.  Failures and faults of our own are signed
like passes: a verdict that is not written down cannot be audited (BR 5.4.1).

Must never: know an order, or keep anything from one check to the next.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from typing import TypeVar

from core import facts
from core.clock import Clock
from core.errors import Problem, Refused, TransientError
from core.evidence import CaaSeen, ControlSeen, Result, Statement, StatementSigner
from core.identifiers import address_of, is_address, is_local, split_wildcard
from core.methods import METHODS
from validation import caa
from validation.addresses import AddressBarred
from validation.api import OLDER_KEYS, CheckRequest, Looked
from validation.challenge import Challenge, Shown, Tools
from validation.dns.canary import Canary
from validation.limiter import Limiter
from validation.methods import CHECKS
from validation.verdict import CheckFailed, Trace, printable

LOCAL_NAME = "local name"
"""Why no CAA was looked up: a name of this machine is in no DNS zone (RFC 6761 section 6.3)."""

IP_ADDRESS = "IP address"
"""Why no CAA was looked up: CAA governs domain names (RFC 8659 section 1; BR 3.2.2.8)."""

TOKEN = re.compile(r"[A-Za-z0-9_-]{22,84}")
"""At least 128 bits in base64url (RFC 8555 section 8.1), and no more than http-01 has room for."""

THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
"""SHA-256 in base64url (RFC 8555 section 8.1)."""

_ATTEMPT = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of the coordinator's making, and in our log: it must not be able to forge a line there."""

INDETERMINATE_PROBLEM = "serverInternal"

SILENCE = frozenset({"dns", "connection"})
"""Problems that a cut line of our own looks like.  `tls` is none: there something was heard."""

Seen = TypeVar("Seen", ControlSeen, CaaSeen)

_log = logging.getLogger(__name__)


class Checker:
    """Checks names from the place where this process runs."""

    def __init__(
        self,
        code: str,
        signer: StatementSigner,
        tools: Tools,
        limiter: Limiter,
        identities: frozenset[str],
        enabled: frozenset[str],
        clock: Clock,
        *,
        public: bool,
        canary: Canary | None = None,
    ) -> None:
        """`code` is this perspective's; `identities` our CAA issuer domain names; `enabled` the methods.

        While `canary` is red there are no verdicts; without one nobody doubts what was seen.
        """
        self._code = code
        self._signer = signer
        self._tools = tools
        self._limiter = limiter
        self._identities = identities
        self._enabled = enabled
        self._clock = clock
        self._public = public
        self._canary = canary

    async def check(self, request: CheckRequest) -> Looked:
        """What was seen, signed, and the facts.

        Raises: `Refused` for a request that no statement could answer; `TransientError` when all is busy.
        """
        self._require_sound(request)
        base, wildcard = split_wildcard(request.name)
        method = request.method or request.caa_method
        async with self._limiter.room(base, request.account_url):
            # Read before looking, so that evidence never passes for younger than its oldest datum.
            checked_at, began = self._clock.now(), self._clock.monotonic()
            issuance = caa.Issuance(wildcard, self._identities, request.account_url, method)
            trace, climb = Trace(), Trace()
            control, seen = await asyncio.gather(
                self._asked_control(request, base, wildcard, trace), self._caa(base, issuance, climb)
            )
        statement = Statement(
            perspective=self._code,
            name=request.name,
            account_url=request.account_url,
            attempt=request.attempt,
            checked_at=checked_at,
            control=control,
            caa=replace(seen, method=method),
            took=round(1000 * (self._clock.monotonic() - began)),
        )
        _log.info("%s", _summary(statement))
        return Looked(self._signer.sign(statement), facts.encode(trace.facts(climb)))

    async def unsigned_control(self, method: str, challenge: Challenge) -> ControlSeen:
        """What was seen of control: for a caller of its own, whose evidence this is not.

        Raises: `Refused` for a name or a method that we do not look at; `TransientError` when all is busy.
        """
        self._require_name(challenge.name)
        self._require_method(method)
        async with self._limiter.room(challenge.name):
            return await self._control(method, challenge, Trace())

    async def unsigned_caa(self, base: str, issuance: caa.Issuance) -> CaaSeen:
        """What was seen of CAA; as `unsigned_control`."""
        self._require_name(base)
        async with self._limiter.room(base):
            return await self._caa(base, issuance, Trace())

    async def see_control(self, method: str, challenge: Challenge, trace: Trace) -> Shown:
        """Returns when control is shown (challenge.Check).  Raises `CheckFailed`, `TransientError`."""
        return await CHECKS[method](challenge, self._tools, trace)

    async def see_caa(self, base: str, issuance: caa.Issuance, trace: Trace) -> CaaSeen:
        """What CAA says.  Raises `TransientError` for a fault of ours."""
        return await caa.check(base, issuance, self._tools.resolver, trace, tld_must_exist=self._public)

    async def close(self) -> None:
        """Let go of what it looks through."""

    def _require_sound(self, request: CheckRequest) -> None:
        """Refuse what an honest caller never asks.

        A front that was taken over may ask anything.  Were it free to choose the key authorization, it could
        name a page that the host serves to everybody and have control of the host attested.
        """
        method = request.method or request.caa_method
        if method not in METHODS:
            raise Refused("validation.method", f"{method!r} is not a method of this perspective")
        if not (request.account_url and _ATTEMPT.fullmatch(request.attempt)):
            raise Refused("validation.request", "account_url and attempt are both needed, each in its form")
        self._require_name(request.name)
        if request.method:
            self._require_method(method)
            _require_key_authorization(request)

    def _require_method(self, method: str) -> None:
        if method not in METHODS or method not in self._enabled:
            raise Refused("validation.method", f"{method!r} is not a method of this perspective")

    def _require_name(self, name: str) -> None:
        address = address_of(name)
        if address is not None:
            try:
                self._tools.policy.police(address)
            except AddressBarred as error:
                raise Refused("validation.name", str(error)) from error
            return
        try:
            normal = self._tools.host_rule(name)
        except Problem as error:
            raise Refused("validation.name", error.detail) from error
        if normal != name:
            raise Refused("validation.name", f"{name!r} is not in its normal form")

    async def _asked_control(
        self, request: CheckRequest, base: str, wildcard: bool, trace: Trace
    ) -> ControlSeen | None:
        if not request.method:
            return None
        challenge = Challenge.of(
            base, wildcard, request.account_url, request.token, request.thumbprint, request.older
        )
        seen = await self._control(request.method, challenge, trace)
        # A record that names a key tells which one; anything else was looked for with the current one.
        return seen if seen.account_hash else replace(seen, thumbprint=request.thumbprint)

    async def _control(self, method: str, challenge: Challenge, trace: Trace) -> ControlSeen:
        result, problem, detail, shown = Result.PASS, "", "", Shown()
        try:
            self._require_green()
            if challenge.wildcard and not METHODS[method].wildcard:
                raise CheckFailed("malformed", f"{method} cannot validate a wildcard; use dns-01")
            if is_address(challenge.name) and not METHODS[method].address:
                raise CheckFailed("malformed", f"{method} cannot validate an address; use http-01")
            shown = await self.see_control(method, replace(challenge, at=self._clock.now()), trace)
        except CheckFailed as error:
            result, problem, detail = Result.FAIL, error.problem, error.detail
        except Exception as error:
            result, problem, detail = Result.INDETERMINATE, INDETERMINATE_PROBLEM, _own_fault(error)
        seen = ControlSeen(
            method,
            challenge.name,
            result,
            problem,
            detail,
            trace.lines(),
            thumbprint=shown.thumbprint,
            ttl=shown.ttl,
            account_hash=shown.account_hash,
            good_until=shown.good_until,
        )
        return await self._confirmed(seen)

    async def _caa(self, base: str, issuance: caa.Issuance, trace: Trace) -> CaaSeen:
        try:
            self._require_green()
            if is_local(base, self._tools.local_names):
                return CaaSeen(Result.PASS, exempt=LOCAL_NAME)
            if is_address(base):
                return CaaSeen(Result.PASS, exempt=IP_ADDRESS)
            return await self._confirmed(await self.see_caa(base, issuance, trace))
        except Exception as error:
            return CaaSeen(Result.INDETERMINATE, problem=INDETERMINATE_PROBLEM, detail=_own_fault(error))

    def _require_green(self) -> None:
        if self._canary is not None:
            self._canary.require_green()

    async def _confirmed(self, seen: Seen) -> Seen:
        """`seen`; or no verdict where the applicant would be blamed for the silence of our own line."""
        if self._canary is None or seen.result is not Result.FAIL or seen.problem not in SILENCE:
            return seen
        try:
            await self._canary.require_line()
        except Exception as error:
            detail = _own_fault(error)
            return replace(seen, result=Result.INDETERMINATE, problem=INDETERMINATE_PROBLEM, detail=detail)
        return seen


def _require_key_authorization(request: CheckRequest) -> None:
    """A token and the account key's thumbprint; no token where the method publishes none, but older keys."""
    if METHODS[request.method].key_authorization:
        fits = bool(TOKEN.fullmatch(request.token)) and not request.older
    else:
        fits = not request.token and len(request.older) <= OLDER_KEYS
    if not fits or not all(THUMBPRINT.fullmatch(each) for each in (request.thumbprint, *request.older)):
        raise Refused("validation.token", "not a token and a key's thumbprint (RFC 8555 section 8.1)")


def _own_fault(error: Exception) -> str:
    """The sentence for the caller.  The traceback of what we did not foresee stays in our own log."""
    if isinstance(error, TransientError):
        return printable(str(error), 200)
    _log.error("a check failed by a fault of ours", exc_info=error)
    return "a fault of the perspective; its log says more"


def _summary(statement: Statement) -> str:
    control, seen = statement.control, statement.caa
    parts = [f"attempt {statement.attempt} {statement.name}"]
    if control is not None:
        parts.append(f"{control.method} {control.result} {control.detail}".rstrip())
    if seen is not None:
        parts.append(f"caa {seen.result} {seen.exempt or seen.detail}".rstrip())
    return ": ".join(parts)
