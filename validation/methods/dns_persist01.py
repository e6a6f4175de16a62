"""The dns-persist-01 challenge: a TXT record that stays, and names us and the account.

The record is an issue-value, as CAA has them, below the name itself: a CNAME of the name leads nowhere, one
of the label is followed.  It holds no key authorization, so it proves no account key; what that means for the
vault is in docs/adr/0015.

draft-ietf-acme-dns-persist-00 and -01, the plain account URL; RFC 8659 section 4.2; BR 3.2.2.4.22.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from validation.caa_value import IssueValue, MalformedValue, parse_issue_value
from validation.challenge import Challenge, Tools
from validation.methods import txt
from validation.verdict import CheckFailed, Trace, printable

LABEL = "_validation-persist"

_TIMESTAMP = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Sought:
    """What a record must grant: `identities` our issuer domain names in lower case, `at` POSIX seconds."""

    identities: frozenset[str]
    account_url: str
    wildcard: bool
    at: int


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> int:
    """The TTL in seconds of the records, one of which grants it.  Raises `CheckFailed`, `TransientError`."""
    name = f"{LABEL}.{challenge.name}"
    texts = await txt.lookup(name, tools, trace)
    sought = Sought(tools.identities, challenge.account_url, challenge.wildcard, challenge.at)
    try:
        granted = evaluate(texts.values, sought)
    except CheckFailed as error:
        raise CheckFailed(error.problem, f"{name}: {error.detail}") from error
    trace.add(f"granted by {printable(granted, 160)}")
    return texts.ttl


def evaluate(values: Iterable[bytes], sought: Sought) -> bytes:
    """The one of `values` that grants what is sought; those that name other issuers are ignored.

    Raises: `CheckFailed`, "malformed" when a record that names us is not well-formed, else "unauthorized".
    """
    refusals = []
    for value in values:
        if not _names(value, sought.identities):
            continue
        try:
            _require_grant(value, sought)
        except CheckFailed as error:
            refusals.append(error)
        else:
            return value
    if not refusals:
        ours = " or ".join(sorted(sought.identities))
        raise CheckFailed("unauthorized", f"no TXT record names {ours} as its issuer")
    # The order of records is chance: what is malformed is told first, so that the answer does not change.
    raise min(refusals, key=lambda error: (error.problem != "malformed", error.detail))


def _names(value: bytes, identities: frozenset[str]) -> bool:
    """Whether the record is for us, be the rest of it as it may."""
    issuer = value.partition(b";")[0].strip(b" \t").lower()
    return issuer in {identity.encode("ascii") for identity in identities}


def _require_grant(value: bytes, sought: Sought) -> None:
    try:
        record = parse_issue_value(value)
    except MalformedValue as error:
        raise CheckFailed("malformed", f"the record that names us is malformed: {error}") from error
    tags = [tag for tag, _ in record.parameters]
    twice = next((tag for tag in tags if tags.count(tag) > 1), None)
    if twice is not None:
        raise CheckFailed("malformed", f"{twice} stands more than once in the record that names us")
    _require_time(record, sought.at)
    account = _only(record, "accounturi")
    if account is None:
        raise CheckFailed("malformed", "the record that names us has no accounturi")
    if account != sought.account_url:
        # RFC 3986 section 6.2.1: simple string comparison.
        raise CheckFailed("unauthorized", f"accounturi is {account}, and not {sought.account_url}")
    if sought.wildcard and (_only(record, "policy") or "").lower() != "wildcard":
        raise CheckFailed("unauthorized", "the record has no policy=wildcard, which a wildcard needs")


def _require_time(record: IssueValue, at: int) -> None:
    until = _only(record, "persistuntil")
    if until is None:
        return
    if not _TIMESTAMP.fullmatch(until):
        raise CheckFailed("malformed", f"persistUntil is {until}, and no number of seconds since 1970")
    if int(until) < at:
        raise CheckFailed("unauthorized", f"the record has expired: persistUntil is {until}")


def _only(record: IssueValue, tag: str) -> str | None:
    return next(iter(record.all(tag)), None)
