"""core/clock.py: time that does not go back."""

from __future__ import annotations

import pytest

from core.clock import ClockSteppedBack, FakeClock, SystemClock
from core.errors import HaltIssuance


def test_a_clock_that_steps_back_halts_issuance() -> None:
    clock = FakeClock(1000)
    clock.now()
    clock.at = 990
    with pytest.raises(HaltIssuance):
        clock.now()


def test_a_durable_record_later_than_the_clock_halts_issuance() -> None:
    clock = FakeClock(1000)
    clock.observe(2000)
    with pytest.raises(ClockSteppedBack):
        clock.now()


def test_the_clock_is_believed_again_once_it_has_passed_the_latest_time_seen() -> None:
    clock = FakeClock(1000)
    clock.observe(2000)
    clock.at = 2001
    assert clock.now() == 2001


def test_a_second_of_rounding_between_processes_is_no_step() -> None:
    clock = FakeClock(1000)
    clock.observe(1001)
    assert clock.now() == 1001


@pytest.mark.clause("BR 5.4.1")
def test_time_never_falls_within_the_second_of_rounding() -> None:
    system = SystemClock()
    at = system.now()
    system.observe(at + 1)
    assert system.now() >= at + 1


def test_the_system_clock_halts_when_a_record_of_the_future_was_seen() -> None:
    clock = SystemClock()
    at = clock.now()
    clock.observe(at + 3600)
    with pytest.raises(ClockSteppedBack, match="set the clock right"):
        clock.now()


def test_the_system_clock_knows_whether_it_is_synchronised() -> None:
    assert SystemClock().synchronised() in (True, False)


@pytest.mark.clause("BR 4.9.3")
def test_the_latest_time_stands_still_while_the_clock_is_behind() -> None:
    clock = FakeClock(1_000)
    clock.at = 400
    with pytest.raises(ClockSteppedBack):
        clock.now()
    assert clock.latest() == 1_000
    clock.at = 1_007
    assert clock.latest() == clock.now() == 1_007


def test_the_system_clocks_latest_time_is_what_was_observed() -> None:
    clock = SystemClock()
    ahead = clock.now() + 3600
    clock.observe(ahead)
    assert clock.latest() == ahead
