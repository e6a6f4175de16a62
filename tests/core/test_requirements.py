from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core import requirements
from core.requirements import DAY, HOUR, TABLE, Limit, limit


def at(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())


RULES: dict[str, list[tuple[str, int]]] = {
    # Written out once more from the requirements' own table, with the days as their sources give them.
    "leaf-validity": [
        ("2020-09-01", 398 * DAY),
        ("2026-03-15", 200 * DAY),
        ("2027-03-15", 100 * DAY),
        ("2029-03-15", 47 * DAY),
    ],
    "short-lived-validity": [("2024-03-15", 10 * DAY), ("2026-03-15", 604_800)],
    "not-before-skew": [("2020-09-01", 48 * HOUR)],
    "validation-reuse": [
        ("2021-10-01", 398 * DAY),
        ("2026-03-15", 200 * DAY),
        ("2027-03-15", 100 * DAY),
        ("2029-03-15", 10 * DAY),
    ],
    "persist-reuse": [("2025-10-01", 10 * DAY)],
    "token-lifetime": [("2018-08-01", 30 * DAY)],
    "caa-reuse": [("2017-09-08", 28_800)],
    "remote-perspectives": [("2025-03-15", 2), ("2026-03-15", 3), ("2026-06-15", 4), ("2026-12-15", 5)],
    "regions": [("2025-03-15", 1), ("2026-03-15", 2)],
    "perspective-distance": [("2025-03-15", 500)],
    "ocsp-validity-least": [("2020-09-30", 8 * HOUR)],
    "ocsp-validity-most": [("2020-09-30", 10 * DAY)],
    "crl-validity": [("2020-09-30", 10 * DAY)],
    "crl-refresh": [("2024-03-15", 7 * DAY)],
    "crl-refresh-without-ocsp": [("2024-03-15", 4 * DAY)],
    "crl-after-revocation": [("2024-03-15", 24 * HOUR)],
    "responder-validity": [("2020-09-30", 30 * DAY)],
    "serial-bits": [("2016-09-30", 64)],
    "reverse-zone-names": [("2012-07-01", 1), ("2026-03-15", 0)],
    "sha1-signatures": [("2012-07-01", 1), ("2026-09-15", 0)],
    "caa-parameters": [("2017-09-08", 0), ("2027-03-15", 1)],
    "rsa-bits": [("2014-01-01", 2048)],
    "ca-key-lifetime": [("2019-06-17", 20 * 365 * DAY)],
    "ca-backdate": [("2023-09-15", DAY)],
    "root-validity-least": [("2023-09-15", 2922 * DAY)],
    "root-validity-most": [("2023-09-15", 9132 * DAY)],
    "scts": [("2022-04-15", 2)],
    "scts-validity": [("2022-04-15", 180 * DAY)],
    "scts-long": [("2022-04-15", 3)],
    "sct-operators": [("2022-04-15", 2)],
    "log-list-age": [("2022-04-15", 70 * DAY)],
}


def test_every_rule_is_here_and_nothing_else() -> None:
    written = {
        name.value: [(row.since, row.value) for row in rows] for name, rows in requirements.TABLE.items()
    }
    assert written == {name: [(at(day), value) for day, value in rows] for name, rows in RULES.items()}


@pytest.mark.clause("BR 1.2.2")
@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, rows in RULES.items() for place in range(len(rows))]
)
def test_a_rule_changes_at_its_very_second(name: str, place: int) -> None:
    day, value = RULES[name][place]
    assert limit(name, at(day)) == value
    if place:
        assert limit(name, at(day) - 1) == RULES[name][place - 1][1]
    else:
        with pytest.raises(ValueError, match="clock"):
            limit(name, at(day) - 1)


def test_the_next_change_is_the_first_day_on_which_a_rule_begins() -> None:
    assert requirements.next_change(at("2026-11-24")) == at("2026-12-15")
    assert requirements.next_change(at("2026-12-15") - 1) == at("2026-12-15")
    assert requirements.next_change(at("2026-12-15")) == at("2027-03-15")
    assert requirements.next_change(at("2029-03-15")) is None


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
    assert requirements.newest(coming - 1) == at("2026-09-15")
    assert requirements.newest(coming) == requirements.newest(coming + 1) == coming
    assert requirements.newest(0) == 0


def test_what_comes_next_is_told_in_order() -> None:
    coming = requirements.changes(at("2026-11-23"))
    assert coming[0][0] is Limit.REMOTE_PERSPECTIVES
    assert coming[0][1].since == at("2026-12-15")
    assert [row.since for _, row in coming] == sorted(row.since for _, row in coming)
