"""What the statements of one fan-out amount to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement
from core.settings import Perspective, Rules
from validation.mpic import Outcome, Received, conclude

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


def outcome(*results: Result | tuple[Result, Result] | None, rules: Rules = Rules.PUBLIC) -> Outcome:
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


@pytest.mark.row("attacks.bgp-primary")
@pytest.mark.row("mpic.quorum")
@pytest.mark.clause("BR 3.2.2.9")
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


def test_all_statements_are_handed_on_with_the_primarys_first() -> None:
    seen = outcome(PASS, None, FAIL, PASS, PASS, PASS)
    assert [signed.payload.decode() for signed in seen.statements] == [
        "primary", "arin-2", "ripe-1", "ripe-2", "lacnic-1",
    ]  # fmt: skip


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
