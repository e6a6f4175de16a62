from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ephemeral import LONGEST_PERIOD, MOST_COUNT, Rate, Spend, gcra

rates = st.builds(Rate, st.integers(1, 20), st.integers(1, 40))
waits = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 20)), max_size=60)


@pytest.mark.clause("RFC 8555 section 6.6")
@given(rates, waits)
def test_no_window_sees_more_than_the_count_and_what_came_back_in_it(
    rate: Rate, waits: list[tuple[int, int]]
) -> None:
    full, now, granted = {}, 0, []
    for wait, cost in waits:
        now += wait
        after, _ = gcra.decide(full, [Spend("a", rate, min(cost, rate.count))], now)
        if after:
            full |= after
            granted.append((now, min(cost, rate.count)))
    for start, (begin, _) in enumerate(granted):
        taken = 0
        for at, cost in granted[start:]:
            taken += cost
            assert taken * rate.period <= rate.count * rate.period + (at - begin) * rate.count


@given(rates, waits, st.integers(1, 20))
def test_what_is_refused_is_granted_at_the_second_that_was_named_and_none_earlier(
    rate: Rate, waits: list[tuple[int, int]], cost: int
) -> None:
    full, now = {}, 0
    for wait, taken in waits:
        now += wait
        full |= gcra.decide(full, [Spend("a", rate, min(taken, rate.count))], now)[0]
    spend = Spend("a", rate, min(cost, rate.count))
    named = gcra.decide(full, [spend], now)[1][0].frees_at
    assert named >= now
    assert gcra.decide(full, [spend], named)[0]
    assert named == now or not gcra.decide(full, [spend], named - 1)[0]


@given(rates, waits)
def test_what_remains_can_be_taken_and_one_more_cannot(rate: Rate, waits: list[tuple[int, int]]) -> None:
    full, now = {}, 0
    for wait, taken in waits:
        now += wait
        full |= gcra.decide(full, [Spend("a", rate, min(taken, rate.count))], now)[0]
    [bucket] = gcra.stand(full, [Spend("a", rate)], now)
    assert 0 <= bucket.remain <= rate.count
    assert (bucket.frees_at == now) == (bucket.remain > 0)
    if bucket.remain:
        assert gcra.decide(full, [Spend("a", rate, bucket.remain)], now)[0]
    if bucket.remain < rate.count:
        assert not gcra.decide(full, [Spend("a", rate, bucket.remain + 1)], now)[0]
    assert gcra.stand(full, [Spend("a", rate)], bucket.full_at)[0].remain == rate.count
    assert bucket.full_at == now or gcra.stand(full, [Spend("a", rate)], bucket.full_at - 1)[0].full_at > (
        bucket.full_at - 1
    )


@given(rates, waits, st.integers(0, 20))
def test_undoing_a_spend_at_once_leaves_the_bucket_as_it_was(
    rate: Rate, waits: list[tuple[int, int]], cost: int
) -> None:
    full, now = {}, 0
    for wait, taken in waits:
        now += wait
        full |= gcra.decide(full, [Spend("a", rate, min(taken, rate.count))], now)[0]
    spend = Spend("a", rate, min(cost, rate.count))
    after, _ = gcra.decide(full, [spend], now)
    if after:
        [undone] = [gcra.returned(each, spend, now) for each in after.values()]
        assert undone == max(full.get(("a", rate), 0), gcra.units(rate, now))


def test_the_units_are_exact_in_a_double_for_every_rate_beyond_the_year_2200() -> None:
    full = gcra.taken(0, Spend("a", Rate(MOST_COUNT, LONGEST_PERIOD), MOST_COUNT), 7_258_118_400)
    assert full < 2**53
    assert int(float(full)) == full


@pytest.mark.parametrize(
    ("count", "period"), [(0, 1), (1, 0), (-1, 5), (MOST_COUNT + 1, 1), (1, LONGEST_PERIOD + 1)]
)
def test_a_rate_that_cannot_be_counted_is_an_error(count: int, period: int) -> None:
    with pytest.raises(ValueError, match="at most"):
        Rate(count, period)


@pytest.mark.parametrize("cost", [-1, 6])
def test_a_cost_that_could_never_be_granted_is_an_error(cost: int) -> None:
    with pytest.raises(ValueError, match="never"):
        Spend("a", Rate(5, 60), cost)
