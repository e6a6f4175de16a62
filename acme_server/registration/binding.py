"""External account binding: whose account a new account is (RFC 8555 section 7.3.4).

The holder of a key that the operator handed out signs the account key with it.  Who does so is known by a
label; what he may do differs by it (rate limits), not what must be proven for a name.

Must never: make an account with a binding that was not verified, or show a binding that was not; let a
single-use key make two accounts; tell the state of a key to somebody who does not have it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import msgspec

from acme_server import jws
from acme_server.exchange import ByKey
from acme_server.jws import Jws
from acme_server.problems import ErrorType, Recorded, malformed, refusal, unauthorized
from acme_server.registration.binding_secret import BindingSecret
from acme_server.store import bindings
from acme_server.store.bindings import KeyState
from core.database import Rows, Transaction
from core.settings import ExternalAccount, Settings

MEMBER = "externalAccountBinding"

MACS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
"""RFC 7518 section 3.2: all of the MAC-based algorithms."""

_NEW = "ask whoever gave it to you for a new one"

_STATES = {
    KeyState.USED: f"made an account before, and it is good for one: use that account's key, or {_NEW}",
    KeyState.EXPIRED: f"has expired: {_NEW}",
    KeyState.WITHDRAWN: f"was withdrawn: {_NEW}",
}


@dataclass(frozen=True, slots=True)
class Binding:
    """A verified binding: the key that signed it, and its JSON as it came in."""

    kid: str
    json: str


class BadBinding(Recorded):
    """A binding that proves nothing."""

    recorded_as = "access.bad-binding"


def read(rows: Rows, request: ByKey, secret: BindingSecret, settings: Settings) -> Binding | None:
    """The binding of a newAccount request; None where none is asked for.

    Raises `Problem` (externalAccountRequired, malformed, badSignatureAlgorithm), `BadBinding` (unauthorized).
    """
    if settings.acme.external_account is ExternalAccount.OFF:
        # The section leaves it to us whether to verify one; what was not verified MUST NOT be shown.
        return None
    value = request.members.get(MEMBER)
    if value is None:
        if settings.acme.external_account is ExternalAccount.REQUIRED:
            raise refusal(
                ErrorType.EXTERNAL_ACCOUNT_REQUIRED,
                f"an account here needs a key that you are given outside of ACME ({MEMBER}): "
                "get a key id and an HMAC key from us, and give both to your client",
            )
        return None
    inner = jws.of_members(value, settings.limits.json_depth, MEMBER, tuple(MACS))
    if inner.kid is None:
        raise malformed(f"{MEMBER} must name the key that you were given (kid), not hold one (jwk)")
    if inner.nonce is not None:
        raise malformed(f"{MEMBER} must have no nonce")
    if inner.url != request.url:
        raise malformed(f"{MEMBER} must have the url of the request that it is in")
    _verify(rows, inner, inner.kid, secret)
    _must_be_of_key(inner, request, settings.limits.json_depth)
    return Binding(inner.kid, msgspec.json.encode(value).decode())


def use(tx: Transaction, binding: Binding) -> None:
    """The key makes an account, in this transaction.  Raises `Problem` (unauthorized) when it cannot."""
    if bindings.use(tx, binding.kid):
        return
    key = bindings.by_kid(tx, binding.kid)
    assert key is not None
    raise unauthorized(f"the key {binding.kid} {_STATES[key.state_at(tx.now)]}")


def _verify(rows: Rows, inner: Jws, kid: str, secret: BindingSecret) -> None:
    key = bindings.by_kid(rows, kid)
    if key is None:
        raise _bad(
            f"no external account has the key id {kid[:64]!r}: see that it is the whole of what you got"
        )
    if key.secret != secret.fingerprint:
        raise _bad(f"the secret of the key {kid} was lost here: {_NEW}")
    expected = hmac.digest(secret.key(kid), inner.signing_input, MACS[inner.alg])
    if not hmac.compare_digest(expected, inner.signature):
        raise _bad(
            f"the MAC of {MEMBER} is not that of the key {kid}: see that the HMAC key is the whole of what "
            "you got, and that your client decodes it from base64url"
        )


def _must_be_of_key(inner: Jws, request: ByKey, depth: int) -> None:
    """The payload is the key of the outer request, by RFC 7638."""
    members = jws.parse_json(inner.payload, depth, f"the payload of {MEMBER}")
    if not isinstance(members, dict):
        raise malformed(f"the payload of {MEMBER} must be the account key, a JWK")
    if jws.public_key(members).thumbprint != request.key.thumbprint:
        raise _bad(f"{MEMBER} was made for another account key than the one that signs this request")


def _bad(detail: str) -> BadBinding:
    return BadBinding(ErrorType.UNAUTHORIZED, detail, status=403)
