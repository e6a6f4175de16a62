"""What would become of an order, as a JSON object: our own document (docs/acme.md).

What was met at hosts and zones is shown as in an explanation, by the same code.

Must never: say that control was shown, or show a body; tell what is on the list of high-risk names to who
does not control them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acme_server import advice, explanation, problems
from acme_server.context import Context
from acme_server.objects import Account, Authorization, identifier
from acme_server.problems import ErrorType
from acme_server.registration.dry_run import Placed
from acme_server.registration.new_order import Wanted
from acme_server.resources import timestamp
from acme_server.states import AuthorizationStatus
from core import facts
from core.errors import Problem
from core.evidence import Result
from core.facts import Dnssec, Facts
from core.identifiers import split_wildcard
from core.outcome import View
from core.settings import Settings
from validation import caa
from validation.api import Preview
from validation.methods import record_name
from validation.mpic.conclusion import SECONDARY
from validation.mpic.foresight import Forecast, Foresight

_KINDS = frozenset(ErrorType)

WORKS = {Result.PASS: "yes", Result.FAIL: "no", Result.INDETERMINATE: "unknown"}


def refused(problem: Problem) -> dict[str, Any]:
    """For a payload that newOrder would refuse before it looks at anything else."""
    return {"placed": False, "problem": problem_of(problem), "identifiers": []}


def document(
    wanted: Wanted,
    said: Placed | Problem,
    seen: Mapping[str, Foresight | None],
    account: Account,
    context: Context,
) -> dict[str, Any]:
    """The order as it would be, or why not, and what was `seen`: None where there was no place or no time."""
    members: dict[str, Any] = {"placed": isinstance(said, Placed), "profile": wanted.profile}
    held: dict[str, tuple[Authorization, bool]] = {}
    if isinstance(said, Problem):
        members["problem"] = problem_of(said)
    else:
        held = {each.name: (each, each.id in said.known) for each in said.authorizations}
        members["order"] = {
            "status": said.order.status,
            "expires": timestamp(said.order.expires),
            "renewal": said.order.renewal,
        }
        # Of names that the account controls: else the list could be read by asking for name after name.
        shown = [each.name for each in said.authorizations if each.status is AuthorizationStatus.VALID]
        if waits := sorted(context.high_risk.found(shown)):
            members["order"]["held"] = waits
    members["identifiers"] = [
        _identifier(name, held.get(name), name in seen, seen.get(name), account, context)
        for name in wanted.names
    ]
    return members


def problem_of(problem: Problem) -> dict[str, Any]:
    """The problem document that newOrder would send."""
    document = problems.as_dict(problem)
    return document if problem.retry_after is None else document | {"retryAfter": problem.retry_after}


def _identifier(
    name: str,
    held: tuple[Authorization, bool] | None,
    planned: bool,
    seen: Foresight | None,
    account: Account,
    context: Context,
) -> dict[str, Any]:
    value, wildcard = split_wildcard(name)
    members: dict[str, Any] = {"identifier": identifier(value), "wildcard": wildcard}
    if held is not None:
        authorization, known = held
        members["authorization"] = {"reused": known, "status": authorization.status}
        if known:
            members["authorization"]["url"] = context.urls.authorization(authorization.id)
            members["authorization"]["expires"] = timestamp(authorization.expires)
    members["looked"] = seen is not None
    if seen is None:
        if planned:
            members["missing"] = "there was no place or no time to look; ask again"
        return members
    regions = {each.code: each.region for each in context.settings.validation.perspectives}
    members["methods"] = [_method(each, value, account, regions) for each in seen.forecasts]
    members["caa"] = _caa(seen, wildcard, account, context.settings)
    return members


def _method(seen: Forecast, value: str, account: Account, regions: Mapping[str, str]) -> dict[str, Any]:
    worst = next((each for each in (seen.control, seen.caa) if each.result is Result.FAIL), None)
    undecided = Result.INDETERMINATE in (seen.control.result, seen.caa.result)
    result = Result.FAIL if worst is not None else Result.INDETERMINATE if undecided else Result.PASS
    read = [facts.decode(view.facts) or Facts() for view in seen.views]
    members: dict[str, Any] = {
        "method": seen.method,
        "works": WORKS[result],
        "network": WORKS[seen.control.result],
        "caa": WORKS[seen.caa.result],
        "quorum": {"control": seen.control_quorum, "caa": seen.caa_quorum},
    }
    if record := record_name(seen.method, value, account.url):
        members["record"] = {"type": "TXT", "name": record}
    if worst is not None:
        kind = worst.problem if worst.problem in _KINDS else ErrorType.UNAUTHORIZED
        members["problem"] = {"type": problems.NAMESPACE + kind, "detail": worst.detail}
        bogus = any(each.dnssec is Dnssec.BOGUS for one in read for each in one.lookups)
        elsewhere = worst.detail.startswith(SECONDARY)
        members["advice"] = dict(advice.about(seen.method, worst.problem, elsewhere=elsewhere, bogus=bogus))
    elif note := _note(seen.method, read[0]):
        members["note"] = note
    primary = seen.views[0].perspective
    members["perspectives"] = [
        {
            "code": view.perspective,
            "region": regions.get(view.perspective, ""),
            "primary": view.perspective == primary,
            **_view(view, each),
        }
        for view, each in zip(seen.views, read, strict=True)
    ]
    return members


def _view(view: View, seen: Facts) -> dict[str, Any]:
    if view.absence is not None or view.control is None:
        return {"absence": explanation.ABSENT[view.absence] if view.absence is not None else ""}
    members = {"network": WORKS[view.control.result], **explanation.control(seen)}
    if view.control.result is Result.FAIL:
        members["detail"] = view.control.detail
    if view.caa is not None:
        members["caa"] = WORKS[view.caa.result]
    return members


def _note(method: str, seen: Facts) -> str:
    """What the primary met that is no fault, in words."""
    if method == "http-01" and seen.fetches:
        status = seen.fetches[-1].status
        if status == 404:
            return "the host answers 404 to a random token, as it should"
        if status == 200:
            return "the host answers 200 to a random token: is one page served for all paths?"
        return f"the host answers {status} to a random token: see that it serves the real file to everybody"
    if method == "tls-alpn-01" and seen.handshakes:
        if seen.handshakes[-1].protocol == "acme-tls/1":
            return "the host speaks acme-tls/1"
        return "TLS answers, without acme-tls/1: the client must set that up for the time of the challenge"
    if method in ("dns-01", "dns-account-01") and seen.lookups:
        count = seen.lookups[-1].count
        return f"{count} TXT records are there already" if count else "nothing is there yet, as it should be"
    return ""


def _caa(seen: Foresight, wildcard: bool, account: Account, settings: Settings) -> list[dict[str, Any]]:
    """What each perspective found; the words about each property are for the first of the methods."""
    identities = frozenset(each.lower() for each in settings.ca.caa_identities)
    issuance = caa.Issuance(wildcard, identities, account.url, seen.forecasts[0].method)
    return [
        {
            "code": code,
            **explanation.climb(facts.decode(preview.climb) or Facts()),
            **explanation.permission(preview.caa, issuance),
        }
        for code, preview in seen.previews.items()
        if isinstance(preview, Preview)
    ]
