"""CAA: whether the holder of the name lets us issue.

`evaluate` is pure; `check` climbs the tree, all levels asked in parallel, and judges the first set met from
the name upward.  A level that cannot be looked up forbids as long as no set was met below it.  The climb goes
up from the name itself and never from where an alias leads.

RFC 8659 sections 3 to 5; RFC 8657; BR 3.2.2.8.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.evidence import CaaSeen, Result
from validation.caa_value import CaaRecord, IssueValue, MalformedValue, parse_issue_value
from validation.dns.asking import ask
from validation.dns.resolver import Answer, LookupFailure, Resolver, Type
from validation.verdict import CheckFailed, Trace, printable

CLIMB_SECONDS = 10.0

KNOWN_TAGS = frozenset(
    {"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}
)
"""Tags that we understand, be it that they do not concern TLS (RFC 8659, RFC 9495, BR A.1)."""

RECORDED_CHARACTERS = 8192
"""In all, of the presentation forms in one statement.  What permits must be on record whole, so that the
coordinator can judge it by itself (review.py): a larger set is refused.  Sixty records fit well, and the
statements of a hundred names about both control and a recheck stay far below what one call may carry."""

REFUSED_RECORDS = 50
REFUSED_CHARACTERS = 300
"""Of a set that does not permit: so many records, each so long.  It is for a reader; nobody rests on it."""

_METHOD_LABELS = re.compile(r"[A-Za-z0-9-]+(?:,[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class Issuance:
    """What permission is sought for: `identities` are our issuer domain names in lower case."""

    wildcard: bool
    identities: frozenset[str]
    account_url: str
    method: str


class CaaForbids(CheckFailed):
    """The relevant set does not permit the issuance."""

    def __init__(self, detail: str) -> None:
        super().__init__("caa", detail)


def evaluate(records: Sequence[CaaRecord], issuance: Issuance) -> None:
    """Returns when the relevant RRset `records` permits the issuance.  Raises `CaaForbids`."""
    for record in records:
        if record.critical and record.tag not in KNOWN_TAGS:
            raise CaaForbids(f"a critical CAA property {record.tag!r} is not known here")
    relevant = _relevant(records, issuance)
    if not relevant:
        return
    refusals = [_refusal(record, issuance) for record in relevant]
    if None not in refusals:
        raise CaaForbids(f"{len(records)} CAA records, and {refusals[0]}")


def words(records: Sequence[CaaRecord], issuance: Issuance) -> list[str]:
    """What each property says to the issuance, for a person: `evaluate` in words."""
    # By identity: a hostile set is long, and all of it alike but for an octet.
    relevant = set(map(id, _relevant(records, issuance)))

    def says(record: CaaRecord) -> str:
        if id(record) in relevant:
            return _refusal(record, issuance) or "permits this certificate"
        if record.critical and record.tag not in KNOWN_TAGS:
            return f"is critical, and {record.tag} is not known here: forbids"
        return "does not concern this certificate"

    return [says(record) for record in records]


async def check(
    name: str, issuance: Issuance, resolver: Resolver, trace: Trace, *, tld_must_exist: bool
) -> CaaSeen:
    """What CAA says for `name` (without "*.").

    `tld_must_exist`: under public rules the top level exists, so NXDOMAIN for it means that something on the
    way lies; a private name space may have no top level.  Never raises `CheckFailed`: the failure is in the
    result.  Raises `TransientError` for a fault of ours.
    """
    try:
        seen = await _climb(name, issuance, resolver, trace, tld_must_exist)
    except TimeoutError:
        seen = _failed("dns", name, f"no answers within {CLIMB_SECONDS:.0f} s")
    except LookupFailure as error:
        seen = _failed(error.problem, name, error.detail)
    return replace(seen, trace=trace.lines())


async def _climb(
    name: str, issuance: Issuance, resolver: Resolver, trace: Trace, tld_must_exist: bool
) -> CaaSeen:
    labels = name.split(".")
    levels = [".".join(labels[position:]) for position in range(len(labels))]
    async with asyncio.timeout(CLIMB_SECONDS):
        answers = await asyncio.gather(
            *(ask(resolver, level, Type.CAA, trace) for level in levels), return_exceptions=True
        )
    authenticated = True
    for level, answer in zip(levels, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        trace.add(answer.describe())
        authenticated = authenticated and answer.authenticated
        if tld_must_exist and level == levels[-1] and not answer.exists:
            raise LookupFailure(level, Type.CAA, "the top level domain does not exist")
        if answer.records:
            return replace(_judge(name, level, answer, issuance), authenticated=authenticated)
    return CaaSeen(Result.PASS, authenticated=authenticated)


def _relevant(records: Sequence[CaaRecord], issuance: Issuance) -> list[CaaRecord]:
    wild = [record for record in records if record.tag == "issuewild"]
    plain = [record for record in records if record.tag == "issue"]
    # RFC 8659 section 4.3: issuewild replaces issue, for wildcards alone.
    return wild if issuance.wildcard and wild else plain


def _judge(name: str, level: str, answer: Answer, issuance: Issuance) -> CaaSeen:
    try:
        records = [CaaRecord.parse(rdata) for rdata in answer.records]
    except MalformedValue as error:
        return _failed("dns", name, f"at {level}: {error}", level, answer.ttl)
    shown = tuple(record.presentation() for record in records)
    try:
        evaluate(records, issuance)
        if sum(map(len, shown)) > RECORDED_CHARACTERS:
            raise CaaForbids(
                f"the set is too large to be kept as evidence ({RECORDED_CHARACTERS} characters at most): "
                "make it smaller"
            )
    except CaaForbids as error:
        part = tuple(printable(record, REFUSED_CHARACTERS) for record in shown[:REFUSED_RECORDS])
        detail = f"CAA at {level}: {error.detail}"
        return CaaSeen(Result.FAIL, part, level, answer.ttl, problem=error.problem, detail=detail)
    return CaaSeen(Result.PASS, shown, level, answer.ttl)


def _failed(problem: str, name: str, detail: str, found_at: str = "", ttl: int = 0) -> CaaSeen:
    return CaaSeen(
        Result.FAIL,
        found_at=found_at,
        ttl=ttl,
        problem=problem,
        detail=f"While processing CAA for {name}: {detail}",
    )


def _refusal(record: CaaRecord, issuance: Issuance) -> str | None:
    """Why this property does not permit the issuance, or None when it does."""
    try:
        value = parse_issue_value(record.value)
    except MalformedValue as error:
        return f"the value of {record.tag} is malformed: {error}"
    if value.issuer not in issuance.identities:
        named = printable(value.issuer, 64) or "nobody"
        return f"{record.tag} names {named}, not {' or '.join(sorted(issuance.identities))}"
    return _account_refusal(value, issuance) or _method_refusal(value, issuance)


def _account_refusal(value: IssueValue, issuance: Issuance) -> str | None:
    # RFC 8657 section 3: compared octet by octet; a property with two of them can be satisfied by nobody.
    uris = value.all("accounturi")
    if len(uris) > 1:
        return "accounturi stands more than once"
    if uris and uris[0] != issuance.account_url:
        return "accounturi names another account"
    return None


def _method_refusal(value: IssueValue, issuance: Issuance) -> str | None:
    # RFC 8657 section 4.
    lists = value.all("validationmethods")
    if len(lists) > 1:
        return "validationmethods stands more than once"
    if not lists:
        return None
    if not _METHOD_LABELS.fullmatch(lists[0]):
        return "validationmethods is not a list of method labels"
    if issuance.method not in lists[0].split(","):
        return f"validationmethods does not name {issuance.method}"
    return None
