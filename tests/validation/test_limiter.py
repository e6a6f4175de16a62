"""Room for checks."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TransientError
from core.registered_domain import registered_domain
from validation import limiter
from validation.limiter import Limiter, Places


async def holders(limiter: Limiter, names: list[str], account: str = "") -> int:
    """How many of `names` get in at once."""
    inside = 0
    leave = asyncio.Event()

    async def hold(name: str) -> None:
        nonlocal inside
        async with limiter.room(name, account):
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


@pytest.mark.row("limits.concurrency")
async def test_one_account_gets_twenty_places_and_who_has_none_is_not_counted() -> None:
    limited = Limiter(100, str)
    names = [f"name{number}.example" for number in range(30)]
    assert await holders(limited, names, "https://ca/a/1") == 20
    assert await holders(limited, names) == 30


@pytest.mark.row("limits.concurrency")
async def test_one_account_leaves_room_below_a_domain_for_its_holder() -> None:
    limited = Limiter(100, registered_domain, patience=0.2)
    names = [f"host{number}.victim.example.org" for number in range(9)]
    assert await holders(limited, names[:3], "stranger") == 3
    async with AsyncExitStack() as held:
        for name in names[:3]:
            await held.enter_async_context(limited.room(name, "stranger"))
        with pytest.raises(TransientError, match="busy"):
            async with limited.room(names[3], "stranger"):
                pass
        assert await holders(limited, names[4:6], "holder") == 2
        assert await holders(limited, ["a.other.org"], "stranger") == 1
    assert (len(limited._domains), len(limited._accounts), len(limited._pairs)) == (0, 0, 0)


@pytest.mark.row("limits.concurrency")
async def test_who_finds_no_room_in_time_tries_again_later_and_holds_no_place_meanwhile() -> None:
    limited = Limiter(9, str, per_domain=1, per_account=2, patience=0.05)
    async with limited.room("a.example", "one"):
        for _ in range(3):
            with pytest.raises(TransientError, match="busy"):
                async with limited.room("a.example", "two"):
                    pass
        # The account that waited in vain holds none of its places.
        assert await holders(limited, ["b.example", "c.example"], "two") == 2
    assert (len(limited._domains), len(limited._accounts), limited._inside) == (0, 0, 0)


@pytest.mark.row("limits.concurrency")
@pytest.mark.row("attacks.amplification")
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_whatever_is_asked_at_once_all_get_through_and_no_limit_is_passed(asked) -> None:
    """Accounts, domains and networks in any mixture: nobody waits for one who waits for him."""

    async def all_of_them() -> None:
        limited = Limiter(6, str, per_domain=3, per_account=4, per_account_and_domain=2, patience=60)
        networks = Places(2)
        now: Counter[str] = Counter()
        most: Counter[str] = Counter()

        async def one(account: int, domain: int, network: int) -> None:
            async with limited.room(f"d{domain}", f"a{account}"), networks.place(network):
                held = ("all", f"a{account}", f"p{account}{domain}", f"d{domain}", f"n{network}")
                now.update(held)
                most.update({key: max(0, now[key] - most[key]) for key in held})
                await asyncio.sleep(0)
                now.subtract(held)

        async with asyncio.timeout(20):
            await asyncio.gather(*(one(*each) for each in asked))
        bounds = {"all": 6, "a": 4, "p": 2, "d": 3, "n": 2}
        for key, seen in most.items():
            assert seen <= bounds[key.rstrip("0123456789")], key

    asyncio.run(all_of_them())


@pytest.mark.row("limits.concurrency")
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
    assert len(limited._domains) == 0


def test_a_name_below_no_suffix_is_its_own_domain() -> None:
    of = registered_domain
    assert of("a.b.example.com") == "example.com"
    assert of("com") == "com"
    assert of("localhost") == "localhost"
    assert of("*.example.co.uk") == "example.co.uk"


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::1", "2001:db8::a"])
def test_an_address_is_its_own_domain(address: str) -> None:
    assert registered_domain(address) == address
