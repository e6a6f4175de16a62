from __future__ import annotations

import pytest

from core import revocations
from core.causes import DAY, PROVING, REASONS, RULES, SUBSCRIBERS, Cause, reason_of


@pytest.mark.clause("BR 4.9.1.1")
def test_the_list_of_the_rules_is_whole_and_each_cause_has_one_number() -> None:
    assert set(RULES) == set(Cause)
    assert sorted(rule.number for rule in RULES.values()) == list(range(1, 17))


@pytest.mark.clause("BR 4.9.1.1")
def test_the_first_five_causes_give_a_day_and_the_others_five() -> None:
    for rule in RULES.values():
        assert rule.within == (DAY if rule.number <= 5 else 5 * DAY)


@pytest.mark.clause("BR 4.9.1.1")
@pytest.mark.parametrize(
    ("numbers", "reason"),
    [((1, 14, 15), 0), ((3, 4, 16), 1), ((5, 6, 12), 4), ((9,), 5), ((2, 7, 8, 10, 11, 13), 9)],
)
def test_each_cause_fixes_its_reason(numbers: tuple[int, ...], reason: int) -> None:
    assert {rule.reason for rule in RULES.values() if rule.number in numbers} == {reason}


@pytest.mark.clause("BR 7.2.2")
def test_no_cause_has_a_reason_that_the_register_refuses() -> None:
    assert set(REASONS) == revocations.REASONS
    assert 9 not in SUBSCRIBERS


@pytest.mark.clause("BR 7.2.2")
@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("asked", [None, *REASONS])
def test_only_a_subscriber_who_asks_may_choose(cause: Cause, asked: int | None) -> None:
    fixed = RULES[cause].reason
    if asked in (None, fixed):
        assert reason_of(cause, asked) == fixed
    elif cause is Cause.SUBSCRIBER_REQUEST and asked in SUBSCRIBERS:
        assert reason_of(cause, asked) == asked
    else:
        with pytest.raises(ValueError, match="another cause"):
            reason_of(cause, asked)


@pytest.mark.clause("BR 4.9.1.1")
def test_a_subscribers_word_that_his_key_is_compromised_is_no_proof() -> None:
    assert Cause.SUBSCRIBER_REQUEST not in PROVING
    assert {RULES[cause].reason for cause in PROVING} == {1}
