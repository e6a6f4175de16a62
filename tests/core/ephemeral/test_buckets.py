"""What holds for the buckets of rate limits in either home."""

from __future__ import annotations

import pytest

from core.ephemeral import Bucket, Buckets, Rate, Spend

NOW = 1_800_000_000
FIVE_A_MINUTE = Rate(5, 60)


def granted(standing: list[Bucket], now: int) -> bool:
    return all(each.frees_at <= now for each in standing)


@pytest.mark.clause("RFC 8555 section 6.6")
async def test_a_full_bucket_grants_its_count_and_then_says_when_the_next_is_free(buckets: Buckets) -> None:
    spend = [Spend("a", FIVE_A_MINUTE)]
    for left in (4, 3, 2, 1, 0):
        assert await buckets.spend(spend, NOW) == [Bucket(left, NOW, NOW + 60 - 12 * left)]
    assert await buckets.spend(spend, NOW) == [Bucket(0, NOW + 12, NOW + 60)]
    assert await buckets.spend(spend, NOW + 11) == [Bucket(0, NOW + 12, NOW + 60)]
    assert await buckets.spend(spend, NOW + 12) == [Bucket(0, NOW + 12, NOW + 72)]


async def test_when_one_bucket_has_not_enough_nothing_is_taken_from_any(buckets: Buckets) -> None:
    await buckets.spend([Spend("a", FIVE_A_MINUTE, 5)], NOW)
    standing = await buckets.spend([Spend("b", FIVE_A_MINUTE, 2), Spend("a", FIVE_A_MINUTE)], NOW)
    assert standing == [Bucket(5, NOW, NOW), Bucket(0, NOW + 12, NOW + 60)]
    assert await buckets.look([Spend("b", FIVE_A_MINUTE)], NOW) == [Bucket(5, NOW, NOW)]


async def test_a_bucket_that_is_spent_from_twice_at_once_must_have_enough_for_both(buckets: Buckets) -> None:
    twice = [Spend("a", FIVE_A_MINUTE, 3), Spend("a", FIVE_A_MINUTE, 3)]
    standing = await buckets.spend(twice, NOW)
    assert standing == [Bucket(5, NOW, NOW), Bucket(5, NOW + 12, NOW)]
    assert granted(await buckets.spend(twice, NOW + 0), NOW) is False
    once = [Spend("a", FIVE_A_MINUTE, 3), Spend("a", FIVE_A_MINUTE, 2)]
    assert await buckets.spend(once, NOW) == [Bucket(0, NOW, NOW + 60)] * 2


async def test_looking_takes_nothing(buckets: Buckets) -> None:
    for _ in range(3):
        assert await buckets.look([Spend("a", FIVE_A_MINUTE, 4)], NOW) == [Bucket(5, NOW, NOW)]


async def test_looking_says_when_as_many_as_asked_are_free(buckets: Buckets) -> None:
    await buckets.spend([Spend("a", FIVE_A_MINUTE, 4)], NOW)
    asked = [Spend("a", FIVE_A_MINUTE, cost) for cost in (0, 1, 2, 5)]
    standing = await buckets.look(asked, NOW)
    assert [each.frees_at - NOW for each in standing] == [0, 0, 12, 48]
    assert {each.remain for each in standing} == {1}


async def test_giving_back_undoes_a_spend(buckets: Buckets) -> None:
    before = [Spend("a", FIVE_A_MINUTE, 2)]
    await buckets.spend(before, NOW)
    undone = [Spend("a", FIVE_A_MINUTE, 3), Spend("b", FIVE_A_MINUTE, 5)]
    assert granted(await buckets.spend(undone, NOW + 1), NOW + 1)
    await buckets.give_back(undone, NOW + 1)
    assert await buckets.look(undone, NOW + 1) == [Bucket(3, NOW + 1, NOW + 24), Bucket(5, NOW + 1, NOW + 1)]


async def test_giving_back_never_makes_more_than_a_full_bucket(buckets: Buckets) -> None:
    await buckets.spend([Spend("a", FIVE_A_MINUTE)], NOW)
    for _ in range(3):
        await buckets.give_back([Spend("a", FIVE_A_MINUTE, 5)], NOW)
    assert await buckets.look([Spend("a", FIVE_A_MINUTE)], NOW) == [Bucket(5, NOW, NOW)]
    assert granted(await buckets.spend([Spend("a", FIVE_A_MINUTE, 5)], NOW), NOW)
    assert not granted(await buckets.spend([Spend("a", FIVE_A_MINUTE)], NOW), NOW)


async def test_a_cost_of_nothing_asks_whether_one_is_free(buckets: Buckets) -> None:
    ask = [Spend("a", FIVE_A_MINUTE, 0)]
    assert await buckets.spend(ask, NOW) == [Bucket(5, NOW, NOW)]
    await buckets.spend([Spend("a", FIVE_A_MINUTE, 5)], NOW)
    assert await buckets.spend(ask, NOW) == [Bucket(0, NOW + 12, NOW + 60)]


async def test_another_rate_is_another_bucket(buckets: Buckets) -> None:
    await buckets.spend([Spend("a", FIVE_A_MINUTE, 5)], NOW)
    assert await buckets.spend([Spend("a", Rate(50, 60))], NOW) == [Bucket(49, NOW, NOW + 2)]
    assert not granted(await buckets.spend([Spend("a", FIVE_A_MINUTE)], NOW), NOW)


async def test_a_clock_that_steps_back_frees_nothing_early_and_raises_nothing(buckets: Buckets) -> None:
    spend = [Spend("a", FIVE_A_MINUTE)]
    await buckets.spend([Spend("a", FIVE_A_MINUTE, 5)], NOW)
    assert granted(await buckets.spend([Spend("a", FIVE_A_MINUTE, 5)], NOW + 60), NOW + 60)
    [bucket] = await buckets.spend(spend, NOW - 600)
    assert bucket.frees_at == NOW + 72
    await buckets.give_back(spend, NOW - 600)
    await buckets.look(spend, NOW - 600)


async def test_a_bucket_that_was_full_before_the_clock_stepped_back_grants_its_count_once(
    buckets: Buckets,
) -> None:
    await buckets.spend([Spend("a", FIVE_A_MINUTE, 5)], NOW)
    # Full again and looked at, so that a home may forget it; the clock steps back to when it was empty.
    assert granted(await buckets.look([Spend("a", FIVE_A_MINUTE, 5)], NOW + 60), NOW + 60)
    await buckets.spend([Spend("other", FIVE_A_MINUTE)], NOW + 60)
    assert not granted(await buckets.spend([Spend("a", FIVE_A_MINUTE)], NOW), NOW)
