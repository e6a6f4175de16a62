"""`kill -9` at every numbered step of the issuance cycle, and of any process, with orders in flight.

After the restart: every order ends valid or invalid, at most one certificate of an order was delivered, every
serial for which the key may have been used is in the register and answered by OCSP, and every acknowledged
revocation stands (tests/support/books.py asks for all of that).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

import aiohttp
import pytest

from bench.client import AcmeClient, ChallengeServer, FlowFailed, open_session
from signer import steps
from tests.support.books import Books
from tests.support.ca import RunningCa
from tests.support.ct_log import RunningLogs
from tests.support.pieces import ROOMS, Pieces
from tests.support.subscriber import Ended, Subscriber
from tests.world.world import World

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7.1.6")]

SUBSCRIBERS, ORDERS_EACH = 4, 2
"""Orders in flight at a crash: enough that some are before, at and after the step."""

REVOKED_PART = 3
"""Each third certificate is revoked at once, so that revocations are in flight too."""

STEPS = sorted((room, step) for step, room in steps.STEPS.items() if step[0] not in "567")
"""(process, step): a new step is in the matrix without a word here.  5 to 7 are passed with CT only."""

_names = (f"crash-{number}.example.com" for number in count())


@dataclass(slots=True)
class Site:
    """The CA that all tests of this module kill, and what its subscribers were told."""

    ca: RunningCa
    pieces: Pieces
    delivered: dict[str, set[bytes]] = field(default_factory=dict)
    """Order URL -> chains that were ever handed out."""
    revoked: set[bytes] = field(default_factory=set)
    """Chains whose revocation was acknowledged."""


CT_STEPS = sorted((room, step) for step, room in steps.STEPS.items() if step[0] in "567" and room == "app")
"""The vault's part of them is in tests/signer/test_crash_transparency.py."""


@pytest.fixture(scope="module")
def site(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    ca = RunningCa(
        tmp_path_factory.mktemp("crash"),
        {"validation.resolvers": [world.resolver], "status.crl_delay": 1},
    )
    ca.start()
    ca.stop()
    pieces = Pieces(ca)
    try:
        yield Site(ca, pieces)
    finally:
        pieces.stop()


@pytest.fixture(scope="module")
def logged_site(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same with Certificate Transparency."""
    with RunningLogs(tmp_path_factory.mktemp("logs")) as logs:
        ca = RunningCa(
            tmp_path_factory.mktemp("crash-ct"),
            {"validation.resolvers": [world.resolver], "status.crl_delay": 1, **logs.overrides()},
        )
        ca.start()
        ca.stop()
        pieces = Pieces(ca)
        try:
            yield Site(ca, pieces)
        finally:
            pieces.stop()


def test_the_code_names_the_steps_of_the_cycle() -> None:
    assert {room for room, _ in STEPS} == {"app", "vault"}
    assert len(STEPS) >= 6


@pytest.mark.parametrize("whole_tree", [False, True], ids=["alone", "with-all-others"])
@pytest.mark.parametrize(("room", "step"), STEPS)
def test_a_crash_at_a_step_breaks_no_promise(site: Site, room: str, step: str, whole_tree: bool) -> None:
    def crash() -> None:
        assert site.pieces.wait_for_death(room), f"{room} never reached {step!r}"
        if whole_tree:
            site.pieces.kill9(*(other for other in ROOMS if other != room))

    site.pieces.start_all()
    site.pieces.kill9(room)
    site.pieces.start(room, crash_at=step)
    _live_through(site, crash)


@pytest.mark.parametrize(("room", "step"), CT_STEPS)
def test_a_crash_between_precertificate_and_certificate_breaks_no_promise(
    logged_site: Site, room: str, step: str
) -> None:
    test_a_crash_at_a_step_breaks_no_promise(logged_site, room, step, whole_tree=False)


@pytest.mark.parametrize("victim", ["perspective", "status"])
@pytest.mark.parametrize(("room", "step"), STEPS)
def test_a_crash_of_another_process_at_a_step_breaks_no_promise(
    site: Site, room: str, step: str, victim: str
) -> None:
    def crash() -> None:
        assert site.pieces.wait_for_death(victim), f"{room} never reached {step!r}"

    site.pieces.start_all()
    site.pieces.kill9(room)
    site.pieces.start(room, crash_at=step, victim=victim)
    _live_through(site, crash)


@pytest.mark.parametrize("victims", [*((room,) for room in ROOMS), ROOMS], ids="+".join)
@pytest.mark.parametrize("seed", range(3))
def test_a_crash_at_any_moment_breaks_no_promise(site: Site, victims: tuple[str, ...], seed: int) -> None:
    moment = Random(f"{victims}{seed}").uniform(0.05, 1.5)

    async def crash() -> None:
        await asyncio.sleep(moment)
        await asyncio.to_thread(site.pieces.kill9, *victims)

    site.pieces.start_all()
    _live_through(site, lambda: asyncio.run(crash()))


def test_a_power_cut_of_the_supervised_tree_is_survived_by_one_more_run(site: Site) -> None:
    site.pieces.stop()
    site.ca.start()
    try:
        site.ca.kill9_all()
        site.ca.start()
        assert Books(site.ca).faults() == []
        for room in ROOMS:
            site.ca.kill9(room)
            site.ca.wait_until_it_answers()
        _check(site)
    finally:
        site.ca.stop()


def _live_through(site: Site, crash: Callable[[], None]) -> None:
    """Orders in flight, the crash, the restart; then everybody finishes, and the books are read."""

    async def live() -> None:
        http01 = ChallengeServer()
        await http01.start("127.0.0.1", site.ca.http_port)
        async with open_session(str(site.ca.trust_anchor), 32) as session:

            async def subscribe() -> None:
                subscriber = Subscriber(await _registered(session, site), http01)
                for turn in range(ORDERS_EACH):
                    ended = await subscriber.obtain(next(_names))
                    await _remember(site, subscriber, ended, revoke=turn % REVOKED_PART == 0)

            async def strike() -> None:
                await asyncio.to_thread(crash)
                await asyncio.to_thread(site.pieces.start_all)

            await asyncio.gather(strike(), *(subscribe() for _ in range(SUBSCRIBERS)))
        await http01.stop()

    asyncio.run(live())
    _check(site)


def _check(site: Site) -> None:
    assert Books(site.ca).faults() == []
    assert all(len(chains) == 1 for chains in site.delivered.values())
    for chain in site.revoked:
        assert Books(site.ca).says(chain) == "REVOKED"


async def _registered(session: aiohttp.ClientSession, site: Site, seconds: float = 60) -> AcmeClient:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await AcmeClient.register(session, site.ca.directory_url)
        except (aiohttp.ClientError, FlowFailed, TimeoutError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def _remember(site: Site, subscriber: Subscriber, ended: Ended, *, revoke: bool) -> None:
    if ended.status == "invalid":
        return
    chains = site.delivered.setdefault(ended.url, set())
    chains.add(ended.chain)
    chains.add(await subscriber.download(ended.order["certificate"]))
    if revoke:
        await subscriber.revoke(ended.chain, reason=4)
        site.revoked.add(ended.chain)
