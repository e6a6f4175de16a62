"""What the app's log says of the rules as days pass."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from core.clock import FakeClock
from core.requirements import DAY, HOUR
from core.settings import Profile
from operations.alarms.rules import LOOK_EVERY, RuleWatch
from tests.core.test_today import FIVE_REMOTES, SHORTER, public


@pytest.mark.row("mpic.start")
def test_a_coming_rule_is_told_once_a_day_and_halts_at_its_midnight(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(FIVE_REMOTES - 2 * DAY - 5)
    watch = RuleWatch(public(4), clock)
    said: list[tuple[str, int]] = []
    for _ in range(80):
        caplog.clear()
        pause = watch.look()
        said += [(record.levelname, clock.at - FIVE_REMOTES) for record in caplog.records]
        clock.at += pause
    warnings = [at for level, at in said if level == "WARNING"]
    halts = [at for level, at in said if level == "CRITICAL"]
    assert warnings == [-2 * DAY - 5, -2 * DAY, -DAY]
    assert halts[:3] == [0, HOUR, 2 * HOUR]
    assert "5 beside the primary" in watch.halted


def test_a_profile_that_a_rule_forbids_is_told_each_time_and_halts_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = public(6)
    settings = replace(settings, profiles={**settings.profiles, "long": Profile(validity=199 * DAY)})
    clock = FakeClock(SHORTER - 1)
    watch = RuleWatch(settings, clock)
    watch.look()
    (warned,) = (record.getMessage() for record in caplog.records)
    assert warned.startswith("from 2027-03-15 on nothing can be issued under profile long: profiles.long.val")
    caplog.clear()
    clock.at = SHORTER
    for _ in range(2):
        watch.look()
    assert [record.levelname for record in caplog.records] == ["CRITICAL"] * 2
    assert "NOTHING IS ISSUED UNDER PROFILE long" in caplog.records[0].getMessage()
    assert watch.halted == ""


def test_in_production_a_clock_of_nobody_halts_issuance_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    settings = public(6)
    for production in (False, True):
        deployment = replace(settings.deployment, production=production)
        clock = FakeClock(FIVE_REMOTES, synchronised=False)
        watch = RuleWatch(replace(settings, deployment=deployment), clock)
        watch.look()
        assert ("no time service disciplines the clock" in watch.halted) is production
    assert "ISSUANCE HALTED: no time service" in caplog.text


def test_settings_that_meet_the_rules_are_looked_at_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = FakeClock(FIVE_REMOTES - 3)
    watch = RuleWatch(public(5), clock)
    assert (watch.look(), watch.halted) == (3, "")
    clock.at += 3
    assert (watch.look(), watch.halted) == (LOOK_EVERY, "")
    assert caplog.records == []


def test_a_clock_that_stepped_back_is_told_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(FIVE_REMOTES)
    watch = RuleWatch(public(5), clock)
    watch.look()
    clock.at -= 60
    assert watch.look() == LOOK_EVERY
    assert "went back" in caplog.text
    assert "went back" in watch.halted
