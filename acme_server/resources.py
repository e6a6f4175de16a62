"""The resources as JSON objects (RFC 8555 section 7.1).  A field that does not apply is left out."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from acme_server import urls as paths
from acme_server.objects import Account, Authorization, Challenge, Order, identifier
from acme_server.renewal_window import Window
from acme_server.states import AuthorizationStatus, ChallengeStatus, OrderStatus
from acme_server.urls import Urls
from core import account_hash
from core.methods import METHODS
from core.settings import ExternalAccount, Settings


def directory(settings: Settings, urls: Urls, profiles: Mapping[str, str]) -> dict[str, Any]:
    """Section 7.1.1, with each profile's description.  What is not offered is not there."""
    meta: dict[str, Any] = {
        "termsOfService": urls.terms,
        "caaIdentities": list(settings.ca.caa_identities),
        "externalAccountRequired": settings.acme.external_account is ExternalAccount.REQUIRED,
        "explain": {"template": paths.EXPLANATION},
        "limits": {"url": urls.base + paths.LIMITS, "documentation": urls.limits},
        "profiles": profiles,
    }
    if settings.acme.preflight:
        meta["preflight"] = {"url": urls.base + paths.PREFLIGHT}
    if any(not METHODS[each].key_authorization for each in settings.validation.methods):
        # draft-ietf-acme-dns-persist-02 section 3.2: so that records can stand before the first order.
        meta["issuerDomainNames"] = list(settings.ca.caa_identities)
        meta["accountHashPrefix"] = account_hash.prefix(urls.base)
    if settings.acme.website:
        meta["website"] = settings.acme.website
    resources = {
        "newNonce": urls.base + paths.NEW_NONCE,
        "newAccount": urls.base + paths.NEW_ACCOUNT,
        "newOrder": urls.base + paths.NEW_ORDER,
        "keyChange": urls.base + paths.KEY_CHANGE,
        "revokeCert": urls.base + paths.REVOKE_CERT,
        "renewalInfo": urls.base + paths.RENEWAL_INFO,
    }
    if settings.acme.authorization_reuse > 0:
        resources["newAuthz"] = urls.base + paths.NEW_AUTHORIZATION
    return {**resources, "meta": meta}


def account(account: Account, urls: Urls) -> dict[str, Any]:
    """Section 7.1.2."""
    members: dict[str, Any] = {
        "status": account.status,
        "contact": account.contact,
        "termsOfServiceAgreed": account.terms_version is not None,
        "orders": urls.orders(account.id),
    }
    if account.binding is not None:
        members["externalAccountBinding"] = msgspec.Raw(account.binding.encode())
    return members


def order(order: Order, authorization_ids: Sequence[str], urls: Urls, now: int) -> dict[str, Any]:
    """Section 7.1.3; draft-ietf-acme-profiles-00 section 4."""
    status = order.status_at(now)
    members: dict[str, Any] = {
        "status": status,
        "expires": timestamp(order.expires),
        "identifiers": [identifier(name) for name in order.names],
        "profile": order.profile,
        "authorizations": [urls.authorization(each) for each in authorization_ids],
        "finalize": urls.finalize(order.id),
    }
    for name, at in (("notBefore", order.not_before), ("notAfter", order.not_after)):
        if at is not None:
            members[name] = timestamp(at)
    if order.replaces is not None:
        members["replaces"] = order.replaces  # RFC 9773 section 5: in every answer
    if order.error is not None:
        members["error"] = msgspec.Raw(order.error.encode())
    if status is OrderStatus.VALID and order.certificate_id is not None:
        members["certificate"] = urls.certificate(order.certificate_id)
    return members


def authorization(
    authorization: Authorization,
    challenges: Sequence[Challenge],
    account: Account,
    settings: Settings,
    urls: Urls,
    now: int,
) -> dict[str, Any]:
    """Section 7.1.4: a wildcard's identifier has no "*.", and `wildcard` is absent for other names."""
    status = authorization.status_at(now)
    if status is not AuthorizationStatus.PENDING:
        # Once decided, only what was really tried is of interest.
        tried = (ChallengeStatus.VALID, ChallengeStatus.INVALID)
        challenges = [each for each in challenges if each.status in tried] or challenges
    members: dict[str, Any] = {
        "identifier": identifier(authorization.value),
        "status": status,
        "expires": timestamp(authorization.expires),
        "challenges": [challenge(each, account, settings, urls) for each in challenges],
    }
    if authorization.wildcard:
        members["wildcard"] = True
    return members


def challenge(challenge: Challenge, account: Account, settings: Settings, urls: Urls) -> dict[str, Any]:
    """Section 7.1.5, 8.  Without a token it is dns-persist-01: by its draft -02, and by -00 where allowed."""
    members: dict[str, Any] = {
        "type": challenge.type,
        "url": urls.challenge(challenge.id),
        "status": challenge.status,
    }
    if METHODS[challenge.type].key_authorization:
        members["token"] = challenge.token
    else:
        members["issuerDomainNames"] = list(settings.ca.caa_identities)
        if settings.validation.persist_plain:
            members["accounturi"] = account.url
            members["issuer-domain-names"] = list(settings.ca.caa_identities)
    if challenge.validated is not None:
        members["validated"] = timestamp(challenge.validated)
    if challenge.error is not None:
        members["error"] = msgspec.Raw(challenge.error.encode())
    return members


def renewal_info(window: Window, explanation_url: str) -> dict[str, Any]:
    """RFC 9773 section 4.2."""
    members: dict[str, Any] = {
        "suggestedWindow": {"start": timestamp(window.start), "end": timestamp(window.end)}
    }
    if explanation_url:
        members["explanationURL"] = explanation_url
    return members


def timestamp(at: int) -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat().replace("+00:00", "Z")
