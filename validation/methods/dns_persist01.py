"""The dns-persist-01 challenge: a TXT record that stays, and names us, the account and one of its keys.

The record is an issue-value, as CAA has them, below the name itself: a CNAME of the name leads nowhere, one
of the label is followed.  Its accounturi is a hash over domain, key and account URL.  The account URL alone,
which names no key, is enough only where the settings say so (docs/adr/0015, 0026).

draft-ietf-acme-dns-persist-02, and the plain account URL of -00 and -01; RFC 8659 section 4.2; BR 3.2.2.4.22.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core import account_hash
from validation.caa_value import IssueValue, MalformedValue, parse_issue_value
from validation.challenge import Challenge, Shown, Tools
from validation.methods import txt
from validation.verdict import CheckFailed, Trace, printable

LABEL = "_validation-persist"

_TIMESTAMP = re.compile(r"[0-9]{1,18}")


_HASH_VALUE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Sought:
    """What a record at `domain` must grant.

    `identities` are our issuer domain names in lower case, `at` POSIX seconds, `thumbprints` those of the
    account's keys, the current one first; `plain`: whether the account's URL alone is enough.
    """

    identities: frozenset[str]
    account_url: str
    wildcard: bool
    at: int
    domain: str
    thumbprints: tuple[str, ...]
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """The record that grants; the rest as `challenge.Shown` has it.  Of several the least `rank` counts.

    The keys are ranked as `Sought` has them and a record without a key comes last, so that all perspectives
    name the same key whatever order the records come in.
    """

    value: bytes
    rank: int
    account_hash: str
    thumbprint: str
    good_until: int


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> Shown:
    """What the records grant.  Raises `CheckFailed`, `TransientError`."""
    name = record(challenge.name)
    texts = await txt.lookup(name, tools, trace)
    sought = Sought(
        tools.identities,
        challenge.account_url,
        challenge.wildcard,
        challenge.at,
        challenge.name,
        challenge.thumbprints,
        # A stock coordinator names no key, but the URI that it wants; its evidence is its own.
        tools.persist_plain or not challenge.thumbprints,
    )
    try:
        granted = evaluate(texts.values, sought)
    except CheckFailed as error:
        raise CheckFailed(error.problem, f"{name}: {error.detail}") from error
    trace.add(f"granted by {printable(granted.value, 240)}")
    return Shown(texts.ttl, granted.account_hash, granted.thumbprint, granted.good_until)


def record(name: str) -> str:
    """Where the TXT record stands."""
    return f"{LABEL}.{name}"


def evaluate(values: Iterable[bytes], sought: Sought) -> Grant:
    """The best of `values` that grants what is sought; those that name other issuers are ignored.

    Raises: `CheckFailed`, "malformed" when a record that names us is not well-formed, else "unauthorized".
    """
    accepted = _accepted(sought)
    refusals, grants = [], []
    for value in values:
        if not _names(value, sought.identities):
            continue
        try:
            grants.append(_grant(value, sought, accepted))
        except CheckFailed as error:
            refusals.append(error)
    if grants:
        return min(grants, key=lambda grant: (grant.rank, grant.good_until != 0, -grant.good_until))
    if not refusals:
        ours = " or ".join(sorted(sought.identities))
        raise CheckFailed("unauthorized", f"no TXT record names {ours} as its issuer")
    # The order of records is chance: what is malformed is told first, so that the answer does not change.
    raise min(refusals, key=lambda error: (error.problem != "malformed", error.detail))


def _accepted(sought: Sought) -> dict[str, tuple[int, str]]:
    """The URIs that name the account: each with its rank, and the key that it names ("" for none)."""
    found: dict[str, tuple[int, str]] = {}
    for rank, thumbprint in enumerate(sought.thumbprints):
        for uri in account_hash.uris(sought.domain, thumbprint, sought.account_url):
            found[uri] = rank, thumbprint
    if sought.plain:
        found[sought.account_url] = len(sought.thumbprints), ""
    return found


def _names(value: bytes, identities: frozenset[str]) -> bool:
    """Whether the record is for us, be the rest of it as it may."""
    issuer = value.partition(b";")[0].strip(b" \t").lower()
    return issuer in {identity.encode("ascii") for identity in identities}


def _grant(value: bytes, sought: Sought, accepted: Mapping[str, tuple[int, str]]) -> Grant:
    try:
        record = parse_issue_value(value)
    except MalformedValue as error:
        raise CheckFailed("malformed", f"the record that names us is malformed: {error}") from error
    tags = [tag for tag, _ in record.parameters]
    twice = next((tag for tag in tags if tags.count(tag) > 1), None)
    if twice is not None:
        raise CheckFailed("malformed", f"{twice} stands more than once in the record that names us")
    until = _good_until(record, sought.at)
    account = _only(record, "accounturi")
    if account is None:
        raise CheckFailed("malformed", "the record that names us has no accounturi")
    # RFC 3986 section 6.2.1: simple string comparison.
    if account not in accepted:
        raise _another(account, sought)
    if sought.wildcard and (_only(record, "policy") or "").lower() != "wildcard":
        raise CheckFailed("unauthorized", "the record has no policy=wildcard, which a wildcard needs")
    rank, thumbprint = accepted[account]
    return Grant(value, rank, account if thumbprint else "", thumbprint, until)


def _another(account: str, sought: Sought) -> CheckFailed:
    """Why this accounturi names no account, or another one (section 9.3.1 of the draft)."""
    wanted = next(iter(_accepted(sought)))
    stem = account_hash.prefix(sought.account_url) + account_hash.ALGORITHM + "/"
    hashed = account.startswith(stem) and _HASH_VALUE.fullmatch(account.removeprefix(stem)) is not None
    if hashed or sought.plain:
        return CheckFailed("unauthorized", f"accounturi is {account}, of another account; use {wanted}")
    if account == sought.account_url:
        return CheckFailed("malformed", f"accounturi is the plain account URL, not accepted; use {wanted}")
    return CheckFailed("malformed", f"accounturi is {account}, no hashed URI of this CA; use {wanted}")


def _good_until(record: IssueValue, at: int) -> int:
    until = _only(record, "persistuntil")
    if until is None:
        return 0
    if not _TIMESTAMP.fullmatch(until):
        raise CheckFailed("malformed", f"persistUntil is {until}, and no number of seconds since 1970")
    if int(until) < at:
        raise CheckFailed("unauthorized", f"the record has expired: persistUntil is {until}")
    return int(until)


def _only(record: IssueValue, tag: str) -> str | None:
    return next(iter(record.all(tag)), None)
