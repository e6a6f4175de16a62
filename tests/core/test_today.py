"""The rules of the day and those that are coming, on both sides of each boundary second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.configuration import load
from core.errors import HaltIssuance
from core.requirements import DAY, TABLE, Limit
from core.settings import Perspective, Settings
from core.today import NOTICE, Today, coming

FIVE_REMOTES = int(datetime(2026, 12, 15, tzinfo=UTC).timestamp())
SHORTER = int(datetime(2027, 3, 15, tzinfo=UTC).timestamp())
PLACES = (
    Perspective("tyo", "APNIC", 35.7, 139.8),
    Perspective("nyc", "ARIN", 40.7, -74.0),
    Perspective("ams", "RIPE NCC", 52.4, 4.9),
    Perspective("sao", "LACNIC", -23.6, -46.6),
    Perspective("syd", "APNIC", -33.9, 151.2),
    Perspective("jnb", "AFRINIC", -26.2, 28.0),
)


def public(remotes: int, validity: int = 90 * DAY) -> Settings:
    settings = load(None, ["ca.rules=public", "ca.local_names=[]", "validation.resolvers=127.0.0.1:53"])
    profile = replace(settings.profiles["tlsserver"], validity=validity)
    return replace(
        settings,
        validation=replace(settings.validation, perspectives=PLACES[: remotes + 1]),
        profiles={"tlsserver": profile},
    )


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.row("mpic.start")
@pytest.mark.row("mpic.numbers-by-date")
@pytest.mark.parametrize(
    ("at", "said"),
    [
        (FIVE_REMOTES - NOTICE - 1, 0),
        (FIVE_REMOTES - NOTICE, 1),
        (int(datetime(2026, 11, 30, tzinfo=UTC).timestamp()), 1),
        (FIVE_REMOTES - 1, 1),
        (FIVE_REMOTES, 0),  # it binds, and that is no warning any more
    ],
)
def test_a_rule_that_the_settings_cannot_meet_is_warned_of_thirty_days_before(at: int, said: int) -> None:
    told = coming(public(4), at)
    assert len(told) == said
    if told:
        assert told[0].startswith("from 2026-12-15 on nothing can be issued")
        assert "BR 3.2.2.9 asks for 5 beside the primary" in told[0]
    assert coming(public(5), at) == []


def test_two_rules_that_come_are_two_sentences_and_other_limits_are_warned_of_too() -> None:
    settings = public(5, validity=199 * DAY)
    (said,) = coming(settings, SHORTER - DAY)
    assert "from 2027-03-15 on" in said
    assert "profiles.tlsserver.validity" in said
    assert coming(Settings(), SHORTER - DAY) == []  # private rules have no dates


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.row("mpic.start")
@pytest.mark.row("mpic.numbers-by-date")
def test_issuance_stops_with_the_first_second_of_a_rule_that_the_settings_do_not_meet() -> None:
    today = Today(public(4))
    today.require(FIVE_REMOTES - 1)
    assert today.refusal(FIVE_REMOTES - 1) == ""
    for at in (FIVE_REMOTES, FIVE_REMOTES + 1, FIVE_REMOTES + DAY):
        with pytest.raises(HaltIssuance, match=r"rules of 2026-12-15 bind: .* 5 beside the primary.*start"):
            today.require(at)
    Today(public(5)).require(FIVE_REMOTES)


def steps() -> Iterator[tuple[Limit, int, int]]:
    """(limit, the second from which a row binds, its value) of all that is in the table since 2026."""
    for name, rows in TABLE.items():
        yield from ((name, each.since, each.value) for each in rows if each.since > FIVE_REMOTES - 365 * DAY)


@pytest.mark.parametrize(("name", "since", "value"), list(steps()))
def test_each_step_of_the_table_is_met_or_refused_from_its_very_second(
    name: Limit, since: int, value: int
) -> None:
    # What is asked once for a state of the rules is what would be found by asking anew.
    settings = public(4, validity=100 * DAY)
    today = Today(settings)
    for at in (since - 1, since, since + 1):
        assert today.refusal(at) == Today(settings).refusal(at)
