"""Which rate limits there are, what each counts, how fast it fills for whom, and the sentence of a refusal.

A limit's name is the same word in refusals, settings ("-" is "_" there), overrides, metrics and documents.
A `Claim` is one limit as it meets one request; the `limits` document and newOrder make the same claims, so
that they cannot differ (docs/adr/0022).

RFC 8555 section 6.6.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter

from acme_server.objects import identifier
from acme_server.problems import ErrorType, refusal
from acme_server.store.overrides import Override
from core.ephemeral import Bucket, Rate, Spend
from core.errors import Problem, Subproblem
from core.registered_domain import registered_domain
from core.settings import Limits

NAMES_SHOWN = 3
"""Of a long list in a sentence."""


class Limit(StrEnum):
    """The limits that are buckets."""

    NEW_ACCOUNT_ADDRESS = "new-account-address"
    NEW_ACCOUNT_BINDING = "new-account-binding"
    CHANGE_ACCOUNT = "change-account"
    NEW_ORDER_ACCOUNT = "new-order-account"
    CERTIFICATE_DOMAIN = "certificate-domain"
    CERTIFICATE_SET = "certificate-set"
    LIMITS_ACCOUNT = "limits-account"
    EXPLAIN_ACCOUNT = "explain-account"
    PREFLIGHT_ACCOUNT = "preflight-account"
    PREFLIGHT_DOMAIN = "preflight-domain"


COUNTS: Mapping[Limit, str] = {
    Limit.NEW_ACCOUNT_ADDRESS: "new accounts from {subject}",
    Limit.NEW_ACCOUNT_BINDING: "new accounts by the binding key {subject}",
    Limit.CHANGE_ACCOUNT: "changes of this account's key or contacts",
    Limit.NEW_ORDER_ACCOUNT: "names in new orders of this account",
    Limit.CERTIFICATE_DOMAIN: "certificates with names below {subject}",
    Limit.CERTIFICATE_SET: "certificates for exactly {subject}",
    Limit.LIMITS_ACCOUNT: "looks at the limits of this account",
    Limit.EXPLAIN_ACCOUNT: "explanations of this account's authorizations",
    Limit.PREFLIGHT_ACCOUNT: "names looked at beforehand (preflight) for this account",
    Limit.PREFLIGHT_DOMAIN: "names below {subject} looked at beforehand (preflight)",
}
"""What each counts, in the plural, for a subject."""

GENERAL: Mapping[Limit, str] = {
    Limit.NEW_ACCOUNT_ADDRESS: "new accounts from one address (a /64 of IPv6, ten times as many from a /48)",
    Limit.NEW_ACCOUNT_BINDING: "new accounts by one binding key",
    Limit.CHANGE_ACCOUNT: "changes of one account's key or contacts",
    Limit.NEW_ORDER_ACCOUNT: "names in new orders of one account",
    Limit.CERTIFICATE_DOMAIN: "certificates with names below one registered domain",
    Limit.CERTIFICATE_SET: "certificates for exactly the same names",
    Limit.LIMITS_ACCOUNT: "looks at the limits of one account",
    Limit.EXPLAIN_ACCOUNT: "explanations of one account's authorizations",
    Limit.PREFLIGHT_ACCOUNT: "names looked at beforehand (preflight) for one account",
    Limit.PREFLIGHT_DOMAIN: "names below one registered domain looked at beforehand (preflight)",
}
"""The same for no subject."""

_SETTINGS = {
    each: (attrgetter(each.replace("-", "_")), attrgetter(each.replace("-", "_") + "_period"))
    for each in Limit
}
"""How count and period are called among the settings."""

_rate = lru_cache(maxsize=1024)(Rate)


@dataclass(frozen=True, slots=True)
class Claim:
    """One limit as it meets one request.

    `subject` is the address, key, domain or names that it is for; `names` those of the request's identifiers
    that would have to go for the claim to go, () when none would; `override` the subject of the override in
    force, "" for none.
    """

    limit: Limit
    subject: str
    spend: Spend
    names: tuple[str, ...] = ()
    override: str = ""

    @property
    def counted(self) -> str:
        """What is counted, in words."""
        return COUNTS[self.limit].format(subject=self.subject)


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast each limit fills for one asker."""

    limits: Limits
    overrides: Mapping[str, Override] = field(default_factory=dict)

    def rate(self, limit: Limit) -> tuple[int, int]:
        """Its count, 0 when it is off, and its period in seconds."""
        override = self.overrides.get(limit)
        if override is not None:
            return override.count, override.period
        count, period = _SETTINGS[limit]
        return count(self.limits), period(self.limits)

    def claim(
        self,
        limit: Limit,
        key: str,
        cost: int,
        subject: str = "",
        names: tuple[str, ...] = (),
        *,
        times: int = 1,
    ) -> list[Claim]:
        """The claim of `cost` on the bucket `key` of `limit`, which holds `times` as much as set.

        None when the limit is off.  A full bucket grants any one request: no order is larger than its limit.
        """
        override = self.overrides.get(limit)
        count, period = self.rate(limit)
        count *= times
        if count == 0:
            return []
        spend = Spend(f"{limit.value}:{key}", _rate(count, period), min(cost, count))
        return [Claim(limit, subject, spend, names, "" if override is None else override.subject)]


def of_order(rates: Rates, account_id: str, names: Sequence[str]) -> list[Claim]:
    """What a new order spends, and what must have room left for its certificate (cost 0: only looked at)."""
    ordered = rates.claim(Limit.NEW_ORDER_ACCOUNT, account_id, len(names))
    return ordered + of_certificate(rates, names, cost=0)


def of_certificate(rates: Rates, names: Sequence[str], *, cost: int = 1) -> list[Claim]:
    """What a certificate for these names spends."""
    domains: dict[str, list[str]] = {}
    for name in names:
        domains.setdefault(registered_domain(name), []).append(name)
    claims = []
    for domain, below in domains.items():
        claims += rates.claim(Limit.CERTIFICATE_DOMAIN, domain, cost, domain, tuple(below))
    exactly = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:32]
    return claims + rates.claim(Limit.CERTIFICATE_SET, exactly, cost, listed(names))


def of_preflight(rates: Rates, account_id: str, names: Sequence[str]) -> list[Claim]:
    """What looking at these names beforehand spends."""
    claims = rates.claim(Limit.PREFLIGHT_ACCOUNT, account_id, max(1, len(names)))
    domains = Counter(map(registered_domain, names))
    for domain, count in domains.items():
        claims += rates.claim(Limit.PREFLIGHT_DOMAIN, domain, count, domain)
    return claims


def reached(claims: Sequence[Claim], stands: Sequence[Bucket], now: int) -> Problem | None:
    """The refusal, when a bucket has not enough: that of the last one to free, so that one wait is enough.

    Where some of the names could be ordered without the others, subproblems tell which could not.
    """
    short = [(bucket.frees_at, claim) for claim, bucket in zip(claims, stands, strict=True)]
    short = [each for each in short if each[0] > now]
    if not short:
        return None
    frees_at, last = max(short, key=lambda each: each[0])
    details = {name: sentence(claim, at) for at, claim in short for name in claim.names}
    some = len({claim.subject for claim in claims if claim.names}) > 1
    subproblems = [(identifier(name), detail) for name, detail in details.items()] if some else ()
    return refused(last.limit, sentence(last, frees_at), frees_at - now, subproblems)


def refused(
    limit: str, detail: str, retry_after: int, subproblems: Iterable[tuple[dict[str, str], str]] = ()
) -> Problem:
    """rateLimited by `limit`, which is free again in `retry_after` seconds.

    `acme_server.answers` counts it, and adds where the limit is documented (Link rel="help").
    """
    kind = ErrorType.RATE_LIMITED
    return refusal(
        kind,
        f"{limit}: {detail}",
        retry_after=retry_after,
        subproblems=tuple(Subproblem(kind.value, detail, about) for about, detail in subproblems),
        extra={"limit": limit},
    )


def sentence(claim: Claim, frees_at: int) -> str:
    """Which limit it is, for what, and when it frees."""
    spend = claim.spend
    asked = "the next is" if spend.cost <= 1 else f"{spend.cost} are"
    return (
        f"{spend.rate.count} {claim.counted} in {span(spend.rate.period)} are the limit;"
        f" {asked} free at {moment(frees_at)}"
    )


def state(claim: Claim, bucket: Bucket) -> str:
    """How the bucket stands, in words."""
    rate = claim.spend.rate
    if bucket.remain < max(claim.spend.cost, 1):
        return sentence(claim, bucket.frees_at)
    return f"{bucket.remain} of {rate.count} {claim.counted} in {span(rate.period)} are left"


def moment(at: int) -> str:
    """A time for a person."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: int) -> str:
    """A duration for a person, in its largest whole unit."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}s" if seconds > length else f"one {unit}"
    return f"{seconds} s"


def listed(names: Sequence[str]) -> str:
    """The names, or the first ones of many."""
    beyond = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {beyond} more" if beyond > 0 else "")
