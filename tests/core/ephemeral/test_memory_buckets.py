from __future__ import annotations

from core.ephemeral import Rate, Spend
from core.ephemeral.memory_buckets import MemoryBuckets

NOW = 1_800_000_000
RATE = Rate(10, 100)


async def test_full_buckets_are_forgotten_while_others_are_spent_from() -> None:
    ours = MemoryBuckets()
    for number in range(1000):
        await ours.spend([Spend(f"old-{number}", RATE)], NOW)
    assert len(ours) == 1000
    for number in range(1000):
        await ours.spend([Spend(f"new-{number}", RATE)], NOW + 10)
    assert len(ours) == 1000
    await ours.spend([Spend("new-0", RATE, 9)], NOW + 10)
    for _ in range(1000):
        await ours.spend([Spend("newest", RATE, 0)], NOW + 20)
    assert len(ours) == 1  # the one that is not full


async def test_memory_is_bounded_and_the_longest_untouched_bucket_goes() -> None:
    ours = MemoryBuckets(max_buckets=100)
    for number in range(1000):
        await ours.spend([Spend(f"key-{number}", RATE, 10)], NOW)
    assert len(ours) == 100
    [oldest] = await ours.look([Spend("key-0", RATE)], NOW)
    [newest] = await ours.look([Spend("key-999", RATE)], NOW)
    assert (oldest.remain, newest.remain) == (10, 0)


async def test_a_bucket_that_was_given_back_whole_is_not_remembered() -> None:
    ours = MemoryBuckets()
    await ours.spend([Spend("a", RATE, 3)], NOW)
    await ours.give_back([Spend("a", RATE, 3)], NOW)
    assert len(ours) == 0
