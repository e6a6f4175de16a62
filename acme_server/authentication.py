"""Who signed this request?  A handler never sees a body that did not pass here.

The order of the checks is cheap first: content type, form, URL, nonce, key, signature.

Must never: let a handler see an unverified payload; say of an account more than that it cannot be used.

RFC 8555 sections 6.2 to 6.5, 7.3.6.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl

from acme_server import jws
from acme_server.context import Context
from acme_server.exchange import ByAccount, ByKey, Signed
from acme_server.handlers.terms import Terms
from acme_server.http import Request
from acme_server.jws import Jws, PublicKey
from acme_server.problems import ErrorType, Recorded, malformed, not_found, refusal, unauthorized
from acme_server.states import AccountStatus
from acme_server.store import accounts
from core.errors import Problem

CONTENT_TYPE = "application/jose+json"
KEYS_REMEMBERED = 4096
"""Parsed account keys kept in memory; making one from its JWK costs 10-20 us and never changes."""

REFUSALS_RECORDED_EVERY = 60
"""Seconds.  A stranger who knows an account URL could else write the audit log full."""


class Proof(Enum):
    """Who may sign for a resource (section 6.2)."""

    ACCOUNT = "the current key of a valid account (kid)"
    AGREED_ACCOUNT = "the same, of one that has agreed to the terms in force (section 7.3.3)"
    NEW_KEY = "the key that the request carries (jwk)"
    ACCOUNT_OR_KEY = "either"


_BY_ACCOUNT = (Proof.ACCOUNT, Proof.AGREED_ACCOUNT)


class Authentication:
    """Turns HTTP requests into `Signed` ones."""

    def __init__(self, context: Context, terms: Terms) -> None:
        self._context = context
        self._terms = terms
        self._keys: dict[str, PublicKey] = {}
        self._refused: dict[tuple[str, str], tuple[int, int]] = {}

    async def authenticate(self, request: Request, path: Mapping[str, str], proof: Proof) -> Signed:
        """The verified request; `path` holds what the route found in its path.  Raises `Problem`."""
        _must_be_jose(request)
        signed = jws.parse(request.body, self._context.settings.limits.json_depth)
        if signed.url != self._context.urls.base + request.target:
            raise unauthorized(
                "url in the protected header is not the URL of this request; take URLs from the directory"
            )
        if proof is Proof.NEW_KEY and signed.jwk is None:
            raise malformed("this resource needs the key itself (jwk), not an account (kid)")
        if proof in _BY_ACCOUNT and signed.kid is None:
            raise malformed("this resource needs an account URL (kid), not a key (jwk)")
        if signed.nonce is None or not await self._context.nonces.consume(signed.nonce):
            raise refusal(
                ErrorType.BAD_NONCE, "the nonce is missing, used or old; take the one in this answer"
            )
        if signed.jwk is not None:
            key = jws.public_key(signed.jwk)
            jws.verify(signed, key)
            return ByKey(
                request.body, key, signed.url, self._payload(signed), path, _query(request), request.remote
            )
        by_account = await self._by_account(request, path, signed)
        if proof is Proof.AGREED_ACCOUNT:
            self._terms.must_have_agreed(by_account.account)
        return by_account

    async def record_refusal(self, kind: str, subject: str, content: Mapping[str, Any]) -> None:
        """Put a refused access into the audit log, at most one a minute for a kind and subject."""
        now = self._context.clock.now()
        since, suppressed = self._refused.get((kind, subject), (0, 0))
        if now - since < REFUSALS_RECORDED_EVERY:
            self._refused[kind, subject] = (since, suppressed + 1)
            return
        if len(self._refused) > KEYS_REMEMBERED:
            self._refused.clear()
        self._refused[kind, subject] = (now, 0)
        record = {**content, "suppressed_before": suppressed}
        await self._context.database.write(lambda tx: tx.audit(kind, subject, record))

    async def _by_account(self, request: Request, path: Mapping[str, str], signed: Jws) -> ByAccount:
        assert signed.kid is not None
        account_id = self._context.urls.account_id(signed.kid)
        found = None
        if account_id:
            wanted = account_id
            found = await self._context.database.read(lambda reader: accounts.with_key(reader, wanted))
        if found is None:
            raise refusal(
                ErrorType.ACCOUNT_DOES_NOT_EXIST, "kid is not the URL of an account here; use newAccount"
            )
        account, thumbprint, jwk = found
        key = self._key(thumbprint, jwk)
        try:
            jws.verify(signed, key)
        except Problem:
            await self.record_refusal(
                "access.bad-signature",
                f"account:{account.id}",
                {"path": request.path, "from": request.remote},
            )
            raise
        if account.status is not AccountStatus.VALID:
            await self.record_refusal(
                "access.ended-account",
                f"account:{account.id}",
                {"status": account.status, "path": request.path, "from": request.remote},
            )
            # Section 7.3.6: MUST be 401.
            raise unauthorized(f"this account is {account.status}; use another one", status=401)
        payload = self._payload(signed)
        return ByAccount(
            request.body, key, signed.url, payload, path, _query(request), request.remote, account
        )

    def _key(self, thumbprint: str, jwk: str) -> PublicKey:
        key = self._keys.get(thumbprint)
        if key is None:
            if len(self._keys) >= KEYS_REMEMBERED:
                self._keys.pop(next(iter(self._keys)))
            key = self._keys[thumbprint] = jws.public_key(json.loads(jwk))
        return key

    def _payload(self, signed: Jws) -> dict[str, Any] | None:
        if not signed.payload:
            return None
        payload = jws.parse_json(signed.payload, self._context.settings.limits.json_depth, "the payload")
        if not isinstance(payload, dict):
            raise malformed("the payload must be a JSON object, or empty for a POST-as-GET")
        return payload


def _must_be_jose(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != CONTENT_TYPE:
        raise malformed(f"Content-Type must be {CONTENT_TYPE} (RFC 8555 section 6.2)", status=415)
    if "content-encoding" in request.headers:
        raise malformed("the body must come as it is, without a Content-Encoding", status=415)


def _query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.target.partition("?")[2])) if "?" in request.target else {}


class Owned(Protocol):
    """A row that belongs to an account."""

    @property
    def account_id(self) -> str: ...


T = TypeVar("T", bound=Owned)


def own(request: ByAccount, found: T | None, what: str) -> T:
    """What was found, if it is the asking account's (section 10.5).  Raises `Problem`, `ForeignResource`."""
    if found is None:
        raise not_found(what)
    must_be_owner(request, found.account_id, what)
    return found


def must_be_owner(request: ByAccount, account_id: str, what: str) -> None:
    """Raises `ForeignResource` when the resource belongs to another account."""
    if account_id != request.account.id:
        raise ForeignResource(
            ErrorType.UNAUTHORIZED,
            f"this {what} belongs to another account; sign with that account's key",
            status=403,
        )


class ForeignResource(Recorded):
    """An account asked for what is another's."""

    recorded_as = "access.foreign-resource"
