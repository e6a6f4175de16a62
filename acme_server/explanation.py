"""Why an authorization is as it is: what each perspective saw in each attempt, in JSON for its holder.

Every word that came from a host, a zone or a perspective is escaped and cut.  A fault of ours is called so,
without its inside.

Must never: show a body, what belongs to another account, or where our own resolvers and perspectives are.

RFC 8555 sections 7.1.4 and 8; RFC 8659; BR 3.2.2.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from acme_server import advice, problems
from acme_server.objects import Account, Attempt, Authorization, identifier
from acme_server.registration.validate import as_problem
from acme_server.resources import timestamp
from acme_server.urls import Urls
from core import facts
from core.evidence import CaaSeen, Result, Statement
from core.facts import Dnssec, Facts, Fetch, Handshake, Lookup
from core.outcome import Absence, Outcome, Seen, View
from core.settings import Settings
from validation import caa
from validation.caa_value import CaaRecord, MalformedValue
from validation.mpic.conclusion import SECONDARY
from validation.verdict import DETAIL_LIMIT, LINE_LIMIT, printable

ATTEMPTS = 10
"""Shown, the newest: seven perspectives with all their facts make some 20 KiB."""

OUR_FAULT = "no verdict could be reached, by a fault of ours"

ABSENT = {
    Absence.SILENT: "it gave no answer in time",
    Absence.TRANSPORT: "it could not be reached by us",
    Absence.REFUSED: "it would not look",
    Absence.HALTED: "its clock is wrong",
    Absence.CONTRADICTION: "its answer contradicts itself and does not count",
    Absence.NOT_ASKED: "it was not asked, because the primary perspective had nothing to corroborate",
}


def document(
    authorization: Authorization,
    attempts: Sequence[Attempt],
    recorded: int,
    account: Account,
    settings: Settings,
    urls: Urls,
    now: int,
) -> dict[str, Any]:
    """The explanation by `attempts`, the newest first, of the `recorded` ones."""
    return {
        "authorization": urls.authorization(authorization.id),
        "identifier": identifier(authorization.value),
        "wildcard": authorization.wildcard,
        "status": authorization.status_at(now),
        "recorded": recorded,
        "attempts": [_attempt(each, account, settings, urls) for each in attempts],
    }


def _attempt(attempt: Attempt, account: Account, settings: Settings, urls: Urls) -> dict[str, Any]:
    outcome = attempt.outcome
    members: dict[str, Any] = {"kind": "validation" if attempt.order_id is None else "caa-recheck"}
    if attempt.challenge_id is not None:
        members["challenge"] = urls.challenge(attempt.challenge_id)
    if attempt.order_id is not None:
        members["order"] = urls.order(attempt.order_id)
    members |= {
        "method": attempt.method,
        "at": timestamp(outcome.at),
        "milliseconds": outcome.took,
        "result": outcome.result,
        "quorum": {"control": outcome.control_quorum, "caa": outcome.caa_quorum},
    }
    seen = {view.perspective: facts.decode(view.facts) or Facts() for view in outcome.views}
    if outcome.result is not Result.PASS:
        members["problem"] = _problem(outcome)
        members["advice"] = dict(_advice(attempt.method, outcome, seen.values()))
    signed = {each.perspective: each for each in (each.statement() for each in outcome.statements)}
    issuance = caa.Issuance(
        attempt.name.startswith("*."),
        frozenset(each.lower() for each in settings.ca.caa_identities),
        account.url,
        attempt.method,
    )
    primary = next((view.perspective for view in outcome.views), "")
    regions = {each.code: each.region for each in settings.validation.perspectives}
    members["perspectives"] = [
        {
            "code": view.perspective,
            "region": regions.get(view.perspective, ""),
            "primary": view.perspective == primary,
            **_view(view, signed.get(view.perspective), seen[view.perspective], issuance),
        }
        for view in outcome.views
    ]
    return members


def _problem(outcome: Outcome) -> dict[str, Any]:
    if outcome.result is Result.INDETERMINATE:
        return {"type": problems.NAMESPACE + "serverInternal", "detail": OUR_FAULT}
    told = as_problem(outcome)
    return {"type": problems.NAMESPACE + told.type, "detail": told.detail}


def _advice(method: str, outcome: Outcome, seen: Iterable[Facts]) -> advice.Advice:
    if outcome.result is Result.INDETERMINATE:
        return advice.UNDECIDED
    bogus = any(each.dnssec is Dnssec.BOGUS for one in seen for each in (*one.lookups, *one.caa))
    elsewhere = outcome.detail.startswith(SECONDARY)
    return advice.about(method, outcome.problem, elsewhere=elsewhere, bogus=bogus)


def _view(view: View, statement: Statement | None, seen: Facts, issuance: caa.Issuance) -> dict[str, Any]:
    members: dict[str, Any] = {"result": view.result}
    if view.absence is not None:
        return members | {"absence": ABSENT[view.absence]}
    if statement is not None:
        members["at"] = timestamp(statement.checked_at)
    members["milliseconds"] = view.took
    if view.control is not None:
        members["control"] = _seen(view.control) | control(seen)
    if view.caa is not None:
        members["caa"] = _seen(view.caa) | climb(seen)
        if statement is not None and statement.caa is not None:
            members["caa"] |= permission(statement.caa, issuance)
    if seen.cut:
        members["cut"] = True
    return members


def _seen(seen: Seen) -> dict[str, Any]:
    if seen.result is Result.PASS:
        return {"result": seen.result}
    if seen.result is Result.INDETERMINATE:
        return {"result": seen.result, "detail": OUR_FAULT}
    return {"result": seen.result, "problem": seen.problem, "detail": seen.detail}


def control(seen: Facts) -> dict[str, Any]:
    """What a perspective met on its way to the applicant's zone and host."""
    members: dict[str, Any] = {"lookups": [_lookup(each) for each in seen.lookups]}
    if seen.fetches:
        members["requests"] = [_fetch(each) for each in seen.fetches]
    if seen.handshakes:
        members["handshakes"] = [_handshake(each) for each in seen.handshakes]
    return members


def climb(seen: Facts) -> dict[str, Any]:
    """The names that were asked for CAA, from the identifier upward."""
    upward = sorted(seen.caa, key=lambda each: -each.name.count("."))
    return {"lookups": [_lookup(each) for each in upward]}


def permission(seen: CaaSeen, issuance: caa.Issuance) -> dict[str, Any]:
    """Which record set decided, and what each of its properties says to this issuance."""
    if seen.exempt:
        return {"exempt": _short(seen.exempt)}
    if not seen.found_at:
        return {"records": []}
    shown = seen.records[: caa.REFUSED_RECORDS]
    return {
        "foundAt": _short(seen.found_at),
        "records": [
            {"record": _short(record), "says": says}
            for record, says in zip(shown, _words(seen.records, issuance), strict=False)
        ],
        "ttl": seen.ttl,
        "authenticated": seen.authenticated,
    }


def _words(records: Sequence[str], issuance: caa.Issuance) -> list[str]:
    try:
        return caa.words([CaaRecord.from_presentation(each) for each in records], issuance)
    except MalformedValue:
        return ["stands in a set that was not kept whole"] * len(records)


def _lookup(each: Lookup) -> dict[str, Any]:
    members: dict[str, Any] = {"name": _short(each.name), "type": _short(each.type)}
    if each.failure:
        members |= {"answer": "failure", "failure": _short(each.failure)}
    elif not each.exists:
        members["answer"] = "nxdomain"
    else:
        members |= {"answer": "records" if each.count else "none", "count": each.count}
    if each.records:
        members["records"] = [_short(one) for one in each.records]
    if each.aliases:
        members["aliases"] = [_short(one) for one in each.aliases]
    if not each.failure:
        members["ttl"] = each.ttl
    return members | {"dnssec": each.dnssec, "milliseconds": each.took}


def _fetch(each: Fetch) -> dict[str, Any]:
    members: dict[str, Any] = {"url": _short(each.url), "address": _short(each.address), "port": each.port}
    if each.failure:
        members["failure"] = _short(each.failure)
    else:
        members |= {"status": each.status, "octets": each.octets}
    if each.location:
        members["location"] = _short(each.location)
    return members | {"milliseconds": each.took}


def _handshake(each: Handshake) -> dict[str, Any]:
    members: dict[str, Any] = {
        "serverName": _short(each.server_name),
        "address": _short(each.address),
        "port": each.port,
    }
    if each.failure:
        members["failure"] = _short(each.failure)
    else:
        members |= {
            "alpn": _short(each.protocol),
            "certificateSha256": _short(each.certificate),
            "names": [_short(one) for one in each.names],
        }
    return members | {"milliseconds": each.took}


def _short(text: str) -> str:
    return printable(text, max(LINE_LIMIT, DETAIL_LIMIT))
