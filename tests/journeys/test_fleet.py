"""A hosting provider's fleet: one account, 5,000 names, renewed by ARI, with an incident in the middle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, variance

import pytest

from tests.support.fleet import DAY, HOUR, LIFE, Told, tell

pytestmark = pytest.mark.long

SIZE = 5000
"""Certificates, one for each name."""


def hours(told: Told, times: Sequence[int], first: float, last: float) -> list[int]:
    """How many of the times fall into each hour from day `first` to day `last`."""
    found = Counter((each - told.began) // HOUR for each in times)
    return [found[hour] for hour in range(round(first * 24), round(last * 24))]


def must_be_flat(counted: Sequence[int]) -> None:
    """As if each renewal had chosen its hour by itself.

    Then the counts are Poisson's, whose variance is their mean: the index of dispersion is 1, and above 1.6
    once in a thousand times for 40 hours or more.  Clients in step would make it the size of their group.
    """
    middle = mean(counted)
    assert variance(counted) / middle < 1.6
    assert max(counted) < middle + 5 * middle**0.5


@pytest.mark.timeout(600)
@pytest.mark.clause("RFC 9773 section 4.2")
@pytest.mark.clause("RFC 9773 section 5")
@pytest.mark.clause("RFC 8555 section 6.6")
async def test_a_fleet_is_renewed_through_an_incident_without_a_429_and_without_falling_in_step(
    tmp_path: Path,
) -> None:
    told = await tell(tmp_path, SIZE)
    story = told.story

    # Nothing meets a limit, though the limits are far below what the fleet needs; all refusals are the sites
    # that could not be reached, and they were renewed when they were tried again.
    assert set(story.statuses) == {200, 201, 403}
    assert story.failed == story.statuses[403] > 0

    # Everything is renewed: each certificate before two thirds of its life and some, those of the incident
    # before its end.
    assert len(story.usual) == SIZE
    assert max(story.usual) < told.began + LIFE * 3 // 4
    assert told.fates == {"replaced": len(story.early)}
    assert len(story.early) > SIZE / 4
    assert told.opened < min(story.early)
    assert max(story.early) < told.renew_by

    # Nobody is in step, before, during and after; nor within the hour.
    both = [*story.usual, *story.early]
    must_be_flat(hours(told, both, 56.7, 58.5))
    must_be_flat(hours(told, both, 59.5, 62))
    assert len(told.planned) == SIZE
    first = min(told.planned)
    assert max(told.planned) - first > 14 * DAY
    spread = Counter((each - first) // HOUR for each in told.planned)
    assert max(spread.values()) < 3 * SIZE / len(spread)
    minutes, even = Counter(each % HOUR // 60 for each in story.chosen), len(story.chosen) / 60
    assert sum((minutes[each] - even) ** 2 / even for each in range(60)) / 59 < 1.6  # chi-square

    # The server's load is flat: no hour stands out, and none of the incident is twice a usual one.
    usual = hours_of(story.requests, told, 55, 58.5)
    meanwhile = hours_of(story.requests, told, 58.5, 63.5)
    assert max(usual) < 1.6 * mean(usual)
    assert max(meanwhile) < 2 * mean(usual)
    assert max(meanwhile) < 1.6 * mean(meanwhile)


def hours_of(requests: Counter[int], told: Told, first: float, last: float) -> list[int]:
    begin = told.began // HOUR
    return [requests[begin + hour] for hour in range(round(first * 24), round(last * 24))]
