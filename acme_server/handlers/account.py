"""newAccount, account update and deactivation (RFC 8555 sections 7.3, 7.3.1 to 7.3.4, 7.3.6)."""

from __future__ import annotations

from contextlib import nullcontext

from acme_server import resources, urls
from acme_server.authentication import must_be_owner
from acme_server.context import Context
from acme_server.exchange import ByAccount, ByKey, Reply, flag
from acme_server.objects import Account
from acme_server.problems import ErrorType, refusal, unauthorized
from acme_server.registration import binding, contacts, rate_limits, still_valid
from acme_server.registration.compromise import must_suit_an_account
from acme_server.registration.deactivate import deactivate_account
from acme_server.registration.rates import Limit
from acme_server.states import ACCOUNT, AccountStatus
from acme_server.store import accounts
from core import public_keys
from core.database import Transaction
from core.randomness import token


async def create(context: Context, request: ByKey) -> Reply:
    """A new account (201), or the one that the key has already (200, the request's fields ignored)."""
    members = request.members
    thumbprint = request.key.thumbprint
    existing = await context.database.read(lambda reader: accounts.by_thumbprint(reader, thumbprint))
    if existing is not None:
        return _existing(context, existing)
    if flag(members, "onlyReturnExisting"):
        raise refusal(ErrorType.ACCOUNT_DOES_NOT_EXIST, "no account has this key")
    contact = contacts.check(members.get("contact", []), context.settings.limits)
    if not flag(members, "termsOfServiceAgreed"):
        raise refusal(
            ErrorType.USER_ACTION_REQUIRED,
            f"agree to the terms of service at {context.urls.terms} (termsOfServiceAgreed: true)",
            headers={"Link": f'<{context.urls.terms}>;rel="terms-of-service"'},
        )
    bound = await context.database.read(
        lambda reader: binding.read(reader, request, context.binding_secret, context.settings)
    )
    try:
        public_keys.check(request.key.spki)
    except public_keys.WeakKey as weak:
        raise refusal(ErrorType.BAD_PUBLIC_KEY, f"the account key cannot be used: {weak}") from weak

    account_id = token(context.randomness)

    def unit(tx: Transaction) -> tuple[Account, bool]:
        beside = accounts.by_thumbprint(tx, thumbprint)
        if beside is not None:  # registered by a request running beside this one
            return beside, False
        account = Account(
            id=account_id,
            url=context.urls.account(account_id),
            status=ACCOUNT.initial,
            contact=contact,
            terms_version=context.settings.ca.terms_version,
            created_at=tx.now,
            binding_kid=None if bound is None else bound.kid,
            binding=None if bound is None else bound.json,
        )
        must_suit_an_account(tx, request.key, context.blocklist)
        urls.bind_base(tx, context.urls)
        if bound is not None:
            binding.use(tx, bound)
        accounts.insert(tx, account, request.key)
        tx.audit(
            "account.created",
            f"account:{account.id}",
            {
                "thumbprint": thumbprint,
                "contact": contact,
                "terms": account.terms_version,
                "binding": account.binding_kid,
            },
        )
        return account, True

    kid = None if bound is None else bound.kid
    async with rate_limits.new_account(context, request.remote, kid) as spent:
        account, made = await context.database.write(unit)
        if not made:
            await spent.give_back()
    return _reply(context, account, 201) if made else _existing(context, account)


async def show_or_update(context: Context, request: ByAccount) -> Reply:
    """POST-as-GET shows the account; a payload replaces the contacts or deactivates it."""
    must_be_owner(request, request.path["id"], "account")
    account = request.account
    if request.payload is None:
        return _reply(context, account)
    # Section 7.3.2: any other member, termsOfServiceAgreed and orders among them, and any other status
    # MUST be ignored.
    deactivating = request.payload.get("status") == "deactivated"
    contact = (
        contacts.check(request.payload["contact"], context.settings.limits)
        if "contact" in request.payload
        else account.contact
    )

    def unit(tx: Transaction) -> Account:
        still_valid.must_be_valid(tx, account.id)
        if contact != account.contact:
            accounts.set_contact(tx, account.id, contact)
            tx.audit("account.updated", f"account:{account.id}", {"contact": contact})
        if deactivating:
            deactivate_account(tx, account)
        after = accounts.by_id(tx, account.id)
        assert after is not None
        return after

    # Whoever ends his account is held up by nothing.
    changing = contact != account.contact and not deactivating
    async with rate_limits.one(context, account, Limit.CHANGE_ACCOUNT) if changing else nullcontext():
        after = await context.database.write(unit)
    return _reply(context, after)


def _existing(context: Context, account: Account) -> Reply:
    if account.status is not AccountStatus.VALID:
        raise unauthorized(f"the account of this key is {account.status}; use another key", status=401)
    return _reply(context, account)


def _reply(context: Context, account: Account, status: int = 200) -> Reply:
    return Reply(status, resources.account(account, context.urls), headers={"Location": account.url})
