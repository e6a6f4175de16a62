"""Multi-perspective issuance corroboration: what the statements of one fan-out amount to, pure.

The primary must pass, and enough remotes must corroborate it, for control and for CAA, each by itself.  A
perspective that gave no usable statement corroborates nothing; but where only such silence stands in the way,
the outcome is indeterminate and never the applicant's failure.  One local perspective is the list of one.

BR 3.2.2.9; RFC 8555 section 8.2.  The vault judges the same statements again by itself (house rule: it trusts
nobody); what is decided here only spares it hopeless requests and tells the applicant why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core import quorum
from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, Result, SignedStatement, Statement
from core.settings import Perspective, Rules

SECONDARY = "During secondary validation: "
"""Said before a remote perspective's words, so that the applicant looks for a difference between places."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fan-out showed.  `problem` and `detail` are empty on pass; `statements` are all that came in."""

    result: Result
    problem: str
    detail: str
    statements: tuple[SignedStatement, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """A usable statement and its signed form."""

    statement: Statement
    signed: SignedStatement


@dataclass(frozen=True, slots=True)
class _View:
    result: Result
    problem: str = ""
    detail: str = ""


_PASS = _View(Result.PASS)


def conclude(
    rules: Rules,
    perspectives: Sequence[Perspective],
    received: Mapping[str, Received],
    at: int,
) -> Outcome:
    """The outcome of what has come in so far.

    `received` is keyed by perspective code; a missing one is undecided, so that a pass or a failure cannot
    be turned by what may still come, and only an indeterminate outcome is worth waiting on.  `at` in POSIX
    seconds.
    """
    signed = tuple(received[one.code].signed for one in perspectives if one.code in received)
    views = [
        _subject(rules, perspectives, {code: _control(item) for code, item in received.items()}, at),
        _subject(rules, perspectives, {code: _caa(item) for code, item in received.items()}, at),
    ]
    for wanted in (Result.FAIL, Result.INDETERMINATE):
        for view in views:
            if view.result == wanted:
                return Outcome(view.result, view.problem, view.detail, signed)
    return Outcome(Result.PASS, "", "", signed)


def _subject(rules: Rules, perspectives: Sequence[Perspective], views: Mapping[str, _View], at: int) -> _View:
    """The outcome of one subject, control or CAA."""
    primary, *remotes = perspectives
    undecided = _View(Result.INDETERMINATE, "serverInternal", "a perspective gave no answer; try again")
    first = views.get(primary.code, undecided)
    if first.result != Result.PASS:
        return first
    seen = {remote.code: views.get(remote.code, undecided) for remote in remotes}
    corroborating = {code for code, view in seen.items() if view.result == Result.PASS}
    refused = _quorum(rules, primary, remotes, corroborating, at)
    if refused is None:
        return _PASS
    possible = corroborating | {code for code, view in seen.items() if view.result == Result.INDETERMINATE}
    failures = [view for view in seen.values() if view.result == Result.FAIL]
    if failures and _quorum(rules, primary, remotes, possible, at) is not None:
        return _View(Result.FAIL, failures[0].problem, SECONDARY + failures[0].detail)
    return _View(
        Result.INDETERMINATE, "serverInternal", f"not enough perspectives answered: {refused.detail}"
    )


def _quorum(
    rules: Rules, primary: Perspective, remotes: Sequence[Perspective], corroborating: set[str], at: int
) -> Refused | None:
    used = [(remote.code, remote.region) for remote in remotes]
    try:
        quorum.check(rules, primary.code, used, corroborating, at)
    except Refused as refused:
        return refused
    return None


def _control(item: Received) -> _View:
    control: ControlSeen | None = item.statement.control
    return _PASS if control is None else _View(control.result, control.problem, control.detail)


def _caa(item: Received) -> _View:
    seen: CaaSeen | None = item.statement.caa
    return _PASS if seen is None else _View(seen.result, seen.problem, seen.detail)
