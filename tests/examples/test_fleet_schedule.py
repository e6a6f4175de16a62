"""examples/fleet/schedule.py: when a fleet asks and renews."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.fleet.schedule import (
    FALLBACK_SPREAD,
    FIRST_QUESTIONS,
    FIRST_RETRY,
    MOST_WAIT,
    Certificate,
    Schedule,
)

NOW = 1_800_000_000
HOUR, DAY = 3600, 86400


def schedule_of(count: int = 1, otherwise: int = NOW + 60 * DAY) -> Schedule:
    made = Schedule(random.Random(1).random)
    for number in range(count):
        made.add(f"site-{number}", f"id-{number}", otherwise, NOW)
    return made


def asked(schedule: Schedule) -> Certificate:
    [only] = schedule.questions(NOW + FIRST_QUESTIONS)
    return only


@pytest.mark.clause("RFC 9773 section 4.2")
@given(start=st.integers(NOW + HOUR, NOW + 90 * DAY), length=st.integers(1, 9 * DAY), seed=st.integers(0, 99))
def test_a_renewal_is_chosen_within_its_window(start: int, length: int, seed: int) -> None:
    schedule = Schedule(random.Random(seed).random)
    schedule.add("a", "id", NOW, NOW - 10 * HOUR)
    [each] = schedule.questions(NOW)
    schedule.answered(each, start, start + length, HOUR, NOW)
    assert start <= each.renew_at <= start + length
    assert not schedule.renewals(each.renew_at - 1, 9)
    assert schedule.renewals(each.renew_at, 9) == [each]


@pytest.mark.clause("RFC 9773 section 4.2")
def test_renewals_of_one_window_are_spread_evenly_over_it() -> None:
    schedule = schedule_of(4800)
    for each in schedule.questions(NOW + FIRST_QUESTIONS):
        schedule.answered(each, NOW + DAY, NOW + 3 * DAY, HOUR, NOW + FIRST_QUESTIONS)
    hours = Counter((each.renew_at - NOW - DAY) // HOUR for each in schedule)
    assert sum((hours[hour] - 100) ** 2 / 100 for hour in range(48)) < 85  # chi-square, 47 degrees: 99.9 %


@pytest.mark.clause("RFC 9773 section 4.2")
def test_a_window_in_the_past_is_renewed_at_once_but_not_all_of_a_fleet_in_one_step() -> None:
    schedule, now = schedule_of(100), NOW + FIRST_QUESTIONS
    for each in schedule.questions(now):
        schedule.answered(each, NOW - DAY, NOW - HOUR, HOUR, now)
    seen = []
    while due := schedule.renewals(now, 30):
        assert len(due) <= 30
        seen += due
    assert len(set(map(id, seen))) == 100


@pytest.mark.clause("RFC 9773 section 4.2")
def test_the_same_window_keeps_the_chosen_time_and_another_one_gives_another() -> None:
    schedule = schedule_of()
    each = asked(schedule)
    schedule.answered(each, NOW + 5 * DAY, NOW + 6 * DAY, HOUR, NOW)
    chosen = each.renew_at
    schedule.answered(each, NOW + 5 * DAY, NOW + 6 * DAY, HOUR, NOW + HOUR)
    assert each.renew_at == chosen
    schedule.answered(each, NOW + 2 * DAY, NOW + 3 * DAY, HOUR, NOW + 2 * HOUR)
    assert NOW + 2 * DAY <= each.renew_at <= NOW + 3 * DAY
    assert schedule.renewals(NOW + 3 * DAY, 9) == [each]
    assert not schedule.renewals(NOW + 9 * DAY, 9)


@pytest.mark.clause("RFC 9773 section 4.3")
@given(retry_after=st.integers(-5, 10**9))
def test_the_next_question_is_not_before_retry_after_and_not_long_after_it(retry_after: int) -> None:
    schedule = schedule_of()
    each = asked(schedule)
    schedule.answered(each, NOW + 5 * DAY, NOW + 6 * DAY, retry_after, NOW)
    wait = each.ask_at - NOW
    assert min(max(retry_after, 60), MOST_WAIT) <= wait <= 2 * MOST_WAIT
    schedule.answered(each, NOW + 5 * DAY, NOW + 6 * DAY, retry_after, NOW)
    wait = each.ask_at - NOW
    assert min(max(retry_after, 60), MOST_WAIT) <= wait <= MOST_WAIT * 1.1 + 1


@pytest.mark.parametrize("retry_after", [HOUR, 5 * HOUR, 12 * HOUR, DAY])
def test_questions_are_even_over_the_time_between_two_whatever_retry_after_is(retry_after: int) -> None:
    schedule, now = schedule_of(4800), NOW
    while now < NOW + 5 * DAY:
        now += 300
        for each in schedule.questions(now):
            schedule.answered(each, NOW + 9 * DAY, NOW + 10 * DAY, retry_after, now)
    parts = Counter((each.ask_at - now) * 8 // (retry_after + 1) for each in schedule)
    assert max(parts[each] for each in range(8)) < 1.2 * 600


def test_the_first_questions_of_a_fleet_are_spread_over_hours() -> None:
    hours = Counter((each.ask_at - NOW) // HOUR for each in schedule_of(6000))
    assert set(hours) <= set(range(7))
    assert max(hours.values()) < 1150


@pytest.mark.clause("RFC 9773 section 4.3")
@pytest.mark.parametrize("end", [NOW + 5 * DAY, NOW])
def test_an_empty_window_and_no_answer_leave_what_was_known(end: int) -> None:
    schedule = schedule_of()
    each = asked(schedule)
    schedule.answered(each, NOW + 2 * DAY, NOW + 3 * DAY, HOUR, NOW)
    chosen = each.renew_at
    schedule.answered(each, NOW + 5 * DAY, end, HOUR, NOW)
    schedule.unanswered(each, NOW)
    assert each.renew_at == chosen
    assert NOW + 3 * HOUR <= each.ask_at <= NOW + 6 * HOUR


def test_a_ca_that_never_says_when_gets_its_renewals_by_age() -> None:
    schedule = schedule_of(200, otherwise=NOW + DAY)
    assert not schedule.renewals(NOW + DAY - 1, 1000)
    assert len(schedule.renewals(NOW + DAY + FALLBACK_SPREAD, 1000)) == 200


def test_a_renewal_that_failed_waits_longer_each_time_and_a_day_at_most() -> None:
    schedule, now, waits = schedule_of(otherwise=NOW), NOW + FALLBACK_SPREAD, []
    for _ in range(20):
        [each] = schedule.renewals(now, 9)
        schedule.failed(each, now)
        waits.append(each.renew_at - now)
        now = each.renew_at
    assert FIRST_RETRY / 2 <= waits[0] <= FIRST_RETRY
    assert all(later > earlier for earlier, later in zip(waits[:8], waits[2:8], strict=False))
    assert max(waits) <= MOST_WAIT


def test_a_renewed_certificate_takes_the_place_of_the_old_one() -> None:
    schedule = schedule_of(otherwise=NOW)
    [old] = schedule.renewals(NOW + FALLBACK_SPREAD, 9)
    schedule.renewed(old, "id-new", NOW + 99 * DAY, NOW + DAY)
    [new] = schedule
    assert (new.name, new.cert_id) == ("site-0", "id-new")
    assert schedule.questions(NOW + DAY + FIRST_QUESTIONS) == [new]
    assert not schedule.renewals(NOW + 98 * DAY, 9)
    assert schedule.next_at() is not None


def test_a_fleet_without_certificates_has_nothing_to_do() -> None:
    schedule = schedule_of(0)
    assert schedule.next_at() is None
    assert not schedule.questions(NOW)
