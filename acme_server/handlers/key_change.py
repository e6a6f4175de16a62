"""keyChange: an account gets a new key (RFC 8555 section 7.3.5).

The outer request is signed by the old key; its payload is a request signed by the new key that names the
account and the old key.  So each key agrees to the other.  Old keys stay in the history for ever.
"""

from __future__ import annotations

import sqlite3

from acme_server import jws, resources
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply, text
from acme_server.jws import PublicKey
from acme_server.problems import ErrorType, malformed, refusal
from acme_server.registration import rate_limits, still_valid
from acme_server.registration.compromise import must_suit_an_account
from acme_server.registration.rates import Limit
from acme_server.store import accounts
from core import public_keys
from core.database import Transaction
from core.errors import Problem


async def change(context: Context, request: ByAccount) -> Reply:
    """Replace the account's key; orders and authorizations stay as they are."""
    new_key = _checked(context, request)
    account = request.account

    def unit(tx: Transaction) -> None:
        still_valid.must_have_key(tx, account.id, request.key.thumbprint)
        holder = accounts.by_thumbprint(tx, new_key.thumbprint)
        if holder is not None:
            raise _in_use(holder.url)
        must_suit_an_account(tx, new_key, context.blocklist)
        accounts.replace_key(tx, account.id, new_key, request.body)
        tx.audit(
            "account.key-changed",
            f"account:{account.id}",
            {"from": request.key.thumbprint, "to": new_key.thumbprint},
        )

    try:
        async with rate_limits.one(context, account, Limit.CHANGE_ACCOUNT):
            await context.database.write(unit)
    except sqlite3.IntegrityError:
        # The history names a key once a second; who goes to and fro faster has to wait.
        raise malformed("the account had this key a moment ago; try again in a second") from None
    return Reply(content=resources.account(account, context.urls), headers={"Location": account.url})


def _checked(context: Context, request: ByAccount) -> PublicKey:
    """The new key, once the inner request has passed all of the section's checks.  Raises `Problem`."""
    depth = context.settings.limits.json_depth
    inner = jws.of_members(request.members, depth, "the inner request")
    if inner.jwk is None:
        raise malformed("the inner request must carry the new key (jwk)")
    if inner.nonce is not None:
        raise malformed("the inner request must have no nonce")
    new_key = jws.public_key(inner.jwk)
    jws.verify(inner, new_key)
    if inner.url != request.url:
        raise malformed("the inner request must have the url of the outer one")
    members = jws.parse_json(inner.payload, depth, "the inner payload")
    if not isinstance(members, dict):
        raise malformed("the inner payload must be a JSON object")
    if text(members, "account") != request.account.url:
        raise malformed("account must be the URL of the account that signs the outer request")
    old_key = members.get("oldKey")
    if not isinstance(old_key, dict) or jws.public_key(old_key).thumbprint != request.key.thumbprint:
        raise malformed("oldKey must be the key that the account has now")
    try:
        public_keys.check(new_key.spki)
    except public_keys.WeakKey as weak:
        raise refusal(ErrorType.BAD_PUBLIC_KEY, f"the new key cannot be used: {weak}") from weak
    return new_key


def _in_use(account_url: str) -> Problem:
    return malformed(
        "an account has the new key already; make another key", status=409, headers={"Location": account_url}
    )
