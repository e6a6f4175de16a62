"""Multi-perspective issuance corroboration: what the answers of one fan-out amount to, pure.

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
from core.outcome import Absence, Seen, View
from core.settings import Perspective, Rules
from validation.verdict import DETAIL_LIMIT, printable

PROBLEM_LIMIT = 40
"""Characters of an error word: RFC 8555's longest has 23."""

SECONDARY = "During secondary validation: "
"""Said before a remote perspective's words, so that the applicant looks for a difference between places."""


@dataclass(frozen=True, slots=True)
class Received:
    """A usable statement, its signed form, and the facts that came with it."""

    statement: Statement
    signed: SignedStatement
    facts: bytes = b""


@dataclass(frozen=True, slots=True)
class Absent:
    """A perspective whose word does not count; `signed` is what it signed all the same."""

    why: Absence
    detail: str
    signed: SignedStatement | None = None


Answer = Received | Absent

_PASS = Seen(Result.PASS)
_FAIL = Seen(Result.FAIL)
UNDECIDED = Seen(Result.INDETERMINATE, "serverInternal", "a perspective gave no answer; try again")


def conclude(
    rules: Rules, perspectives: Sequence[Perspective], answers: Mapping[str, Answer], at: int
) -> Seen:
    """What has come in so far amounts to.

    `answers` is keyed by perspective code; a missing one is undecided, so that a pass or a failure cannot
    be turned by what may still come.  `at` in POSIX seconds.
    """
    return _conclude(rules, perspectives, answers, UNDECIDED, at)


def settled(
    rules: Rules, perspectives: Sequence[Perspective], answers: Mapping[str, Answer], at: int
) -> bool:
    """Whether no answer that is still to come can change the conclusion.

    Nothing is settled without the primary.  Control and CAA follow the answers monotonically, so it is enough
    to look at the two ends: all that is missing passes, and all of it fails.
    """
    if perspectives[0].code not in answers:
        return False
    if conclude(rules, perspectives, answers, at).result is not Result.INDETERMINATE:
        return True
    ends = (_conclude(rules, perspectives, answers, end, at).result for end in (_PASS, _FAIL))
    return all(result is Result.INDETERMINATE for result in ends)


def worth_corroborating(answer: Answer) -> bool:
    """Whether the primary passes what it was asked, so that others need to look at all."""
    if isinstance(answer, Absent):
        return False
    parts = (answer.statement.control, answer.statement.caa)
    return all(part is None or part.result is Result.PASS for part in parts)


def views(perspectives: Sequence[Perspective], answers: Mapping[str, Answer]) -> tuple[View, ...]:
    """A line for every perspective, in the order of the settings; all of them have an answer."""
    return tuple(_line(each.code, answers[each.code]) for each in perspectives)


def tally(views: Sequence[View], subject: str) -> str:
    """How many remotes passed of those asked, "3/4", for `subject`: "control" or "caa" (BR 5.4.1).

    The first view is the primary's.  "" when nobody but the primary was asked.
    """
    if any(view.absence is Absence.NOT_ASKED for view in views):
        return ""
    seen = [getattr(view, subject) for view in views[1:]]
    return f"{sum(each is not None and each.result is Result.PASS for each in seen)}/{len(seen)}"


def _line(code: str, answer: Answer) -> View:
    if isinstance(answer, Absent):
        return View(code, absence=answer.why, detail=answer.detail)
    statement = answer.statement
    control = None if statement.control is None else believed(statement.control)
    caa = None if statement.caa is None else believed(statement.caa)
    return View(code, control, caa, statement.took, facts=answer.facts)


def believed(part: ControlSeen | CaaSeen | Seen) -> Seen:
    """What a perspective says, as far as it may say it."""
    # A failure that is called our own is none of the applicant's, whatever perspective calls it so.
    ours = part.result is Result.FAIL and part.problem == UNDECIDED.problem
    # Its words go on to clients and logs: a perspective that was taken over must not choose their form.
    problem, detail = printable(part.problem, PROBLEM_LIMIT), printable(part.detail, DETAIL_LIMIT)
    return Seen(Result.INDETERMINATE if ours else part.result, problem, detail)


def _conclude(
    rules: Rules, perspectives: Sequence[Perspective], answers: Mapping[str, Answer], missing: Seen, at: int
) -> Seen:
    control, caa = {}, {}
    for one in perspectives:
        answer = answers.get(one.code)
        if isinstance(answer, Received):
            # Control is None in a recheck: it was shown before.
            shown, permitted = answer.statement.control, answer.statement.caa
            control[one.code] = _PASS if shown is None else believed(shown)
            caa[one.code] = UNDECIDED if permitted is None else believed(permitted)
        else:
            control[one.code] = caa[one.code] = missing if answer is None else UNDECIDED
    subjects = [agreed(rules, perspectives, seen, at) for seen in (control, caa)]
    for wanted in (Result.FAIL, Result.INDETERMINATE):
        for each in subjects:
            if each.result is wanted:
                return each
    return _PASS


def agreed(rules: Rules, perspectives: Sequence[Perspective], seen: Mapping[str, Seen], at: int) -> Seen:
    """The outcome of one subject, control or CAA, of which each perspective has `seen` this."""
    primary, *remotes = perspectives
    first = seen[primary.code]
    if first.result is not Result.PASS:
        return first
    corroborating = {each.code for each in remotes if seen[each.code].result is Result.PASS}
    refused = _quorum(rules, primary, remotes, corroborating, at)
    if refused is None:
        return _PASS
    # What could not be met by all of them together is a fault of our settings, whatever the remotes saw.
    ours = _quorum(rules, primary, remotes, {each.code for each in remotes}, at)
    possible = {each.code for each in remotes if seen[each.code].result is not Result.FAIL}
    failures = [seen[each.code] for each in remotes if seen[each.code].result is Result.FAIL]
    if ours is None and failures and _quorum(rules, primary, remotes, possible, at) is not None:
        return Seen(Result.FAIL, failures[0].problem, SECONDARY + failures[0].detail)
    return Seen(Result.INDETERMINATE, "serverInternal", f"not enough perspectives answered: {refused.detail}")


def _quorum(
    rules: Rules, primary: Perspective, remotes: Sequence[Perspective], corroborating: set[str], at: int
) -> Refused | None:
    used = [(remote.code, remote.region) for remote in remotes]
    try:
        quorum.check(rules, primary.code, used, corroborating, at)
    except Refused as refused:
        return refused
    return None
