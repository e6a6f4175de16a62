from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core import requirements
from core.requirements import DAY, HOUR, TABLE, Limit, limit


def at(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("name", "date", "before", "since"),
    [
        pytest.param(
            "leaf-validity", "2026-03-15", 398 * DAY, 200 * DAY, marks=pytest.mark.clause("BR 6.3.2")
        ),
        pytest.param(
            "leaf-validity", "2027-03-15", 200 * DAY, 100 * DAY, marks=pytest.mark.clause("BR 6.3.2")
        ),
        pytest.param(
            "leaf-validity", "2029-03-15", 100 * DAY, 47 * DAY, marks=pytest.mark.clause("BR 6.3.2")
        ),
        pytest.param(
            "validation-reuse", "2026-03-15", 398 * DAY, 200 * DAY, marks=pytest.mark.clause("BR 4.2.1")
        ),
        pytest.param(
            "validation-reuse", "2027-03-15", 200 * DAY, 100 * DAY, marks=pytest.mark.clause("BR 4.2.1")
        ),
        pytest.param(
            "validation-reuse", "2029-03-15", 100 * DAY, 10 * DAY, marks=pytest.mark.clause("BR 4.2.1")
        ),
        pytest.param("remote-perspectives", "2026-03-15", 2, 3, marks=pytest.mark.clause("BR 3.2.2.9")),
        pytest.param("remote-perspectives", "2026-06-15", 3, 4, marks=pytest.mark.clause("BR 3.2.2.9")),
        pytest.param("remote-perspectives", "2026-12-15", 4, 5, marks=pytest.mark.clause("BR 3.2.2.9")),
        pytest.param("regions", "2026-03-15", 1, 2, marks=pytest.mark.clause("BR 3.2.2.9")),
        pytest.param(
            "short-lived-validity", "2026-03-15", 10 * DAY, 7 * DAY, marks=pytest.mark.clause("BR 1.6.1")
        ),
    ],
)
def test_a_rule_changes_at_its_very_second(name: str, date: str, before: int, since: int) -> None:
    assert limit(name, at(date) - 1) == before
    assert limit(name, at(date)) == since


def test_today_four_remotes_and_two_hundred_days_bind() -> None:
    today = at("2026-11-23T12:00:00")
    assert limit(Limit.REMOTE_PERSPECTIVES, today) == 4
    assert limit(Limit.LEAF_VALIDITY, today) == 200 * DAY
    assert limit(Limit.CAA_REUSE, today) == 8 * HOUR


def test_every_limit_has_rows_in_order_and_each_names_its_clause() -> None:
    assert set(TABLE) == set(Limit)
    for rows in TABLE.values():
        assert [row.since for row in rows] == sorted({row.since for row in rows})
        assert all(row.clause for row in rows)


def test_a_time_before_all_rules_and_an_unknown_limit_are_refused() -> None:
    with pytest.raises(ValueError, match="clock"):
        limit(Limit.LEAF_VALIDITY, 0)
    with pytest.raises(ValueError, match="leaf-validty"):
        limit("leaf-validty", at("2026-11-23"))


def test_the_newest_rule_names_the_state_of_all_rules() -> None:
    coming = at("2026-12-15")
    assert requirements.newest(coming - 1) == at("2026-06-15")
    assert requirements.newest(coming) == requirements.newest(coming + 1) == coming
    assert requirements.newest(0) == 0


def test_what_comes_next_is_told_in_order() -> None:
    coming = requirements.changes(at("2026-11-23"))
    assert coming[0][0] is Limit.REMOTE_PERSPECTIVES
    assert coming[0][1].since == at("2026-12-15")
    assert [row.since for _, row in coming] == sorted(row.since for _, row in coming)
