"""operations/alarms/urgency.py: an alarm is raised at once when something changed, else now and then."""

from __future__ import annotations

from operations.alarms.urgency import Alarms, Urgency


def test_an_alarm_is_raised_at_once_when_its_state_changes_and_else_again_after_its_time() -> None:
    alarms = Alarms()
    raised = [
        alarms.raises("a", state, now, 10)
        for state, now in (
            (Urgency.HALF, 0),
            (Urgency.HALF, 9),
            (Urgency.MOST, 9),
            (Urgency.MOST, 18),
            (Urgency.MOST, 19),
        )
    ]
    assert raised == [True, False, True, False, True]


def test_each_thing_has_alarms_of_its_own_and_what_was_over_is_raised_at_once() -> None:
    alarms = Alarms()
    assert alarms.raises("a", None, 0, 10)
    assert alarms.raises("b", None, 0, 10)
    alarms.over("a")
    assert alarms.raises("a", None, 1, 10)
    assert not alarms.raises("b", None, 1, 10)
    alarms.keep(["a"])
    assert alarms.raises("b", None, 2, 10)
    assert not alarms.raises("a", None, 2, 10)
