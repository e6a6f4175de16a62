"""Room for checks."""

from __future__ import annotations

import asyncio

import pytest

from core.errors import TransientError
from core.registered_domain import registered_domain
from validation import limiter
from validation.limiter import Limiter


async def holders(limiter: Limiter, names: list[str]) -> int:
    """How many of `names` get in at once."""
    inside = 0
    leave = asyncio.Event()

    async def hold(name: str) -> None:
        nonlocal inside
        async with limiter.room(name):
            inside += 1
            await leave.wait()

    tasks = [asyncio.create_task(hold(name)) for name in names]
    for _ in range(20):
        await asyncio.sleep(0)
    seen = inside
    leave.set()
    await asyncio.gather(*tasks)
    assert inside == len(names)
    return seen


async def test_one_registered_domain_gets_five_places_and_others_theirs() -> None:
    limited = Limiter(100, registered_domain)
    slow = [f"host{number}.slow.co.uk" for number in range(9)]
    assert await holders(limited, slow) == 5
    assert await holders(limited, [*slow, "a.other.co.uk", "other.org"]) == 7


async def test_no_more_than_the_concurrency_run_at_once() -> None:
    assert await holders(Limiter(3, str), [f"name{number}.example" for number in range(9)]) == 3


async def test_a_full_queue_is_a_transient_error_and_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "WAITING", 1)
    limited = Limiter(1, str)
    async with limited.room("a.example"):
        waiting = asyncio.create_task(holders(limited, ["b.example"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(TransientError, match="busy"):
            async with limited.room("c.example"):
                pass
    await waiting
    assert await holders(limited, ["c.example"]) == 1


async def test_nothing_is_kept_of_a_domain_after_its_last_check() -> None:
    limited = Limiter(3, str)
    await holders(limited, ["a.example", "a.example", "b.example"])
    assert limited._domains == {}


def test_a_name_below_no_suffix_is_its_own_domain() -> None:
    of = registered_domain
    assert of("a.b.example.com") == "example.com"
    assert of("com") == "com"
    assert of("localhost") == "localhost"
