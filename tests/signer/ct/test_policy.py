"""How many SCTs of whose logs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.requirements import DAY
from signer.ct.policy import Policy, in_order, policy_for
from tests.support.software_ca import NOW

pytestmark = pytest.mark.clause("Chrome CT policy")


@dataclass(frozen=True)
class One:
    """A log as the policy sees it."""

    operator: str
    tiled: bool
    number: int


LOGS = st.lists(
    st.builds(One, st.sampled_from("abcd"), st.booleans(), st.integers(0, 99)), max_size=8, unique=True
)
SHORT, LONG = policy_for(180 * DAY, NOW), policy_for(180 * DAY + 1, NOW)


def test_the_numbers_are_those_of_the_browsers() -> None:
    assert Policy(2, 1, 2) == SHORT
    assert Policy(3, 2, 2) == LONG


@pytest.mark.parametrize(
    ("operators", "short", "long"),
    [
        ("", False, False),
        ("a", False, False),
        ("aaa", False, False),
        ("ab", True, False),
        ("aab", True, True),
        ("aaab", True, True),
        ("abc", True, True),
    ],
)
def test_one_operator_is_never_enough(operators: str, short: bool, long: bool) -> None:
    logs = [One(operator, False, number) for number, operator in enumerate(operators)]
    assert SHORT.fulfilled(logs) is short
    assert LONG.fulfilled(logs) is long


@given(LOGS)
def test_what_is_chosen_fulfils_with_no_log_twice(logs: list[One]) -> None:
    for policy in (SHORT, LONG):
        if not policy.fulfilled(logs):
            continue
        chosen = policy.chosen(logs)
        assert policy.fulfilled(chosen)
        assert len(set(chosen)) == len(chosen) <= 4
        assert set(chosen) <= set(logs)
        assert policy.aimed(chosen, logs) is policy.aimed(logs, logs) is True


@given(LOGS)
def test_every_log_is_asked_in_the_end_and_each_operator_before_any_comes_again(logs: list[One]) -> None:
    order = in_order(logs)
    assert sorted(order, key=logs.index) == logs
    operators = {log.operator for log in logs}
    assert {log.operator for log in order[: len(operators)]} == operators
    if any(not log.tiled for log in logs):
        assert not order[0].tiled
