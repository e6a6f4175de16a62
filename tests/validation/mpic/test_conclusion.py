"""What the statements of one fan-out amount to."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement
from core.outcome import Absence, Seen
from core.settings import Perspective, Rules
from validation.mpic.conclusion import Absent, Answer, Received, conclude, settled, tally, views

AT = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp())
KEY = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
LOCAL = (Perspective("local", "APNIC"),)
FIVE = (
    Perspective("primary", "APNIC"),
    Perspective("arin-1", "ARIN"),
    Perspective("arin-2", "ARIN"),
    Perspective("ripe-1", "RIPE NCC"),
    Perspective("ripe-2", "RIPE NCC"),
    Perspective("lacnic-1", "LACNIC"),
)
PASS, FAIL, UNKNOWN = Result.PASS, Result.FAIL, Result.INDETERMINATE
RESULTS = st.sampled_from([PASS, FAIL, UNKNOWN, None])


def received(code: str, control: Result, caa: Result = PASS) -> Received:
    problem = {PASS: "", FAIL: "unauthorized", UNKNOWN: "serverInternal"}
    statement = Statement(
        code,
        "a.example",
        "https://ca/a/1",
        "t",
        AT,
        ControlSeen("dns-01", "a.example", control, problem[control], f"control seen from {code}"),
        CaaSeen(caa, problem="" if caa == PASS else "caa", detail=f"caa seen from {code}"),
    )
    return Received(statement, SignedStatement(KEY.key_id, code.encode(), b""))


def outcome(*results: Result | tuple[Result, Result] | None, rules: Rules = Rules.PUBLIC) -> Seen:
    """The results in the order of the perspectives; a pair is (control, CAA)."""
    perspectives = LOCAL if len(results) == 1 else FIVE[: len(results)]
    seen = {
        one.code: received(one.code, *(result if isinstance(result, tuple) else (result,)))
        for one, result in zip(perspectives, results, strict=True)
        if result is not None
    }
    return conclude(rules, perspectives, seen, AT)


def test_one_local_perspective_decides_alone_under_private_rules() -> None:
    assert outcome(PASS, rules=Rules.PRIVATE).result == PASS
    failed = outcome(FAIL, rules=Rules.PRIVATE)
    assert (failed.result, failed.problem, failed.detail) == (FAIL, "unauthorized", "control seen from local")
    assert outcome(None, rules=Rules.PRIVATE).result == UNKNOWN
    assert outcome(UNKNOWN, rules=Rules.PRIVATE).problem == "serverInternal"


@pytest.mark.row("errors.server-internal")
@pytest.mark.clause("BR 3.2.2.9")
def test_one_perspective_is_not_enough_under_public_rules_and_that_is_our_fault() -> None:
    seen = outcome(PASS)
    assert (seen.result, seen.problem) == (UNKNOWN, "serverInternal")
    assert "validation.perspectives" in seen.detail


@pytest.mark.row("mpic.quorum", "attacks.bgp-primary")
@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.must("rfc8555.10.2.perspectives")
@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((PASS, PASS, PASS, PASS, PASS, PASS), PASS),
        ((PASS, PASS, PASS, PASS, PASS, FAIL), PASS),
        ((PASS, PASS, PASS, PASS, PASS, None), PASS),
        ((PASS, PASS, PASS, PASS, FAIL, FAIL), FAIL),
        ((PASS, PASS, PASS, PASS, FAIL, None), UNKNOWN),
        ((PASS, PASS, PASS, PASS, UNKNOWN, None), UNKNOWN),
        ((PASS, FAIL, FAIL, FAIL, FAIL, FAIL), FAIL),
        ((PASS, None, None, None, None, None), UNKNOWN),
        ((FAIL, PASS, PASS, PASS, PASS, PASS), FAIL),
        ((None, PASS, PASS, PASS, PASS, PASS), UNKNOWN),
        ((None, FAIL, FAIL, FAIL, FAIL, FAIL), UNKNOWN),
    ],
)
def test_the_primary_and_a_quorum_of_remotes_must_agree(results, expected: Result) -> None:
    assert outcome(*results).result == expected


@pytest.mark.row("errors.secondary")
def test_the_first_remote_failure_is_told_as_a_secondary_one() -> None:
    seen = outcome(PASS, PASS, FAIL, PASS, FAIL, PASS)
    assert seen.problem == "unauthorized"
    assert seen.detail == "During secondary validation: control seen from arin-2"


@pytest.mark.row("mpic.sets")
@pytest.mark.clause("BR 3.2.2.9")
def test_control_and_caa_each_need_their_own_quorum_by_whichever_remotes() -> None:
    one_each = (PASS, (PASS, FAIL), (FAIL, PASS), PASS, PASS, PASS)
    assert outcome(*one_each).result == PASS
    assert outcome(PASS, (PASS, FAIL), (PASS, FAIL), PASS, PASS, PASS).problem == "caa"


def test_a_prohibition_by_caa_stands_where_control_is_undecided() -> None:
    seen = outcome((UNKNOWN, FAIL), rules=Rules.PRIVATE)
    assert (seen.result, seen.problem) == (FAIL, "caa")


@given(st.lists(st.tuples(RESULTS, RESULTS), min_size=6, max_size=6), st.sets(st.integers(0, 5)))
def test_what_comes_in_later_never_turns_a_pass_or_a_failure(results, late: set[int]) -> None:
    pairs = [None if None in pair else pair for pair in results]
    early = outcome(*[None if number in late else pair for number, pair in enumerate(pairs)])
    if early.result != UNKNOWN:
        assert outcome(*pairs).result == early.result


@given(st.lists(st.tuples(RESULTS, RESULTS), min_size=6, max_size=6))
def test_silence_and_our_faults_alone_never_fail_an_applicant(results) -> None:
    pairs = [None if None in pair else pair for pair in results]
    if not any(pair and FAIL in pair for pair in pairs):
        assert outcome(*pairs).result != FAIL


# --- when the outcome is settled, and what is told of each perspective ----------------------------------

FEW = (Perspective("primary", "APNIC"), Perspective("one", "ARIN"), Perspective("two", "RIPE NCC"))
AT_FEW = int(datetime(2025, 10, 1, tzinfo=UTC).timestamp())
"""Two remotes were enough then: few enough to try all that may still come in."""

ANYTHING: tuple[tuple[Result, Result] | None, ...] = (
    *((control, caa) for control in (PASS, FAIL, UNKNOWN) for caa in (PASS, FAIL, UNKNOWN)),
    None,
)


def answer(code: str, seen: tuple[Result, Result] | None) -> Answer:
    return Absent(Absence.SILENT, "") if seen is None else received(code, *seen)


@pytest.mark.row("mpic.coordinator")
@given(st.lists(st.sampled_from(ANYTHING), min_size=3, max_size=3), st.sets(st.integers(0, 2)))
def test_the_outcome_is_settled_exactly_when_nothing_to_come_can_change_it(seen, late: set[int]) -> None:
    now = {one.code: answer(one.code, seen[number]) for number, one in enumerate(FEW) if number not in late}
    coming = [FEW[number].code for number in sorted(late)]
    ends = {
        conclude(
            Rules.PUBLIC,
            FEW,
            {**now, **{code: answer(code, each) for code, each in zip(coming, rest, strict=True)}},
            AT_FEW,
        ).result
        for rest in itertools.product(ANYTHING, repeat=len(coming))
    }
    assert settled(Rules.PUBLIC, FEW, now, AT_FEW) == (len(ends) == 1)


@pytest.mark.row("errors.server-internal")
def test_too_few_perspectives_for_the_day_are_our_fault_whatever_the_remotes_saw() -> None:
    seen = outcome(PASS, PASS, FAIL)
    assert (seen.result, seen.problem) == (UNKNOWN, "serverInternal")


@pytest.mark.row("errors.server-internal")
def test_a_failure_that_a_perspective_calls_its_own_is_none_of_the_applicants() -> None:
    item = received("local", FAIL)
    assert item.statement.control is not None
    control = replace(item.statement.control, problem="serverInternal")
    answers = {"local": replace(item, statement=replace(item.statement, control=control))}
    assert conclude(Rules.PRIVATE, LOCAL, answers, AT).result == UNKNOWN


@pytest.mark.clause("BR 5.4.1")
@pytest.mark.row("mpic.sets")
def test_the_tally_counts_the_remotes_that_passed_of_those_that_were_asked() -> None:
    answers: dict[str, Answer] = {
        "primary": received("primary", PASS),
        "one": received("one", PASS, FAIL),
        "two": Absent(Absence.TRANSPORT, "connection refused"),
    }
    lines = views(FEW, answers)
    assert (tally(lines, "control"), tally(lines, "caa")) == ("1/2", "0/2")
    assert [(line.perspective, line.result) for line in lines] == [
        ("primary", "pass"),
        ("one", "fail"),
        ("two", "transport"),
    ]


def brute_force(seen: list[Result | None]) -> Result:
    """BR 3.2.2.9, read anew: primary first, then three pairs of remotes in ARIN, RIPE NCC and LACNIC."""
    primary, *remotes = seen
    if primary is not PASS:
        return primary or UNKNOWN
    regions = ["ARIN", "ARIN", "RIPE NCC", "RIPE NCC", "LACNIC", "LACNIC"]

    def met(agreeing: list[bool]) -> bool:
        return sum(agreeing) >= 4 and len({r for r, a in zip(regions, agreeing, strict=True) if a}) >= 2

    if met([each is PASS for each in remotes]):
        return PASS
    return UNKNOWN if met([each is not FAIL for each in remotes]) else FAIL


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.row("mpic.quorum")
def test_every_combination_of_six_remotes_is_as_the_rule_reads() -> None:
    seven = (*FIVE, Perspective("lacnic-2", "LACNIC"))
    words = (PASS, FAIL, UNKNOWN)
    made = {(one.code, word): received(one.code, word) for one in seven for word in words}
    for seen in itertools.product(words, repeat=7):
        answers = {one.code: made[one.code, word] for one, word in zip(seven, seen, strict=True)}
        assert conclude(Rules.PUBLIC, seven, answers, AT).result is brute_force([*seen]), seen
