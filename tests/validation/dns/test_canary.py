"""The canary: green only with a resolver that validates; red, nothing is attested, pass or fail."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import FakeClock
from core.errors import TransientError
from core.evidence import PerspectiveKey, Result, Statement
from core.randomness import SystemRandomness
from core.settings import Ca, Rules, Settings, Validation
from tests.support.fake_dns import Entry, TableResolver
from tests.support.unbounds import CANARY, loosened, opened, validation_in
from tests.world.world import World
from validation.api import CheckRequest
from validation.dns import canary
from validation.dns.canary import (
    INTERVAL,
    LINE_SECONDS,
    LINE_WELL_SECONDS,
    RED_INTERVAL,
    STALE_SECONDS,
    Canary,
)
from validation.dns.resolver import Answer, Fault, LookupFailure, Type
from validation.hosts.dialer import DialLimits
from validation.methods import txt
from validation.mpic.client import DEADLINE_SECONDS
from validation.perspective import make_checker

pytestmark = [pytest.mark.row("dns.canary"), pytest.mark.clause("BR 3.2.2.8.1"), pytest.mark.timeout(60)]

BOGUS = "bogus.example"
SIGNED = "signed.example"
ACCOUNT = "https://ca.example/acme/account/1"
TOKEN = "evaGxfADs6pSRb2LAv9IZf"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
DIGEST = txt.text_of(hashlib.sha256(f"{TOKEN}.{THUMBPRINT}".encode()).digest()).decode()

FAILS = LookupFailure(BOGUS, Type.A, "SERVFAIL (EDE 6): bogus", Fault.BOGUS)
SILENT = LookupFailure(BOGUS, Type.A, "timeout", Fault.SILENT)
REFUSED = LookupFailure(BOGUS, Type.A, "REFUSED: lame", Fault.LAME)
AWAY = TransientError("no DNS resolver answers")


class Day:
    """A clock that is turned by whoever sleeps, and ends the test's loop after some sleeps."""

    def __init__(self, sleeps: int = 1000) -> None:
        self.clock = FakeClock(1_800_000_000)
        self.slept: list[float] = []
        self._sleeps = sleeps

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.at += int(seconds)
        if len(self.slept) >= self._sleeps:
            raise asyncio.CancelledError


def made(table: TableResolver, day: Day | None = None) -> Canary:
    day = day or Day()
    return Canary(table, BOGUS, SIGNED, day.clock, SystemRandomness(), day.sleep)


def healthy() -> TableResolver:
    return TableResolver({f"{BOGUS} A": FAILS, f"{SIGNED} A": ["192.0.2.1"]})


# --- what it sees ---------------------------------------------------------------------------------------


async def test_it_is_green_when_the_broken_name_fails_and_the_signed_one_is_authentic() -> None:
    bird = made(healthy())
    await bird.look()
    bird.require_green()


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        (BOGUS, ["192.0.2.1"], "does not validate"),
        (BOGUS, None, "does not validate"),
        (BOGUS, SILENT, "failed otherwise"),
        (BOGUS, REFUSED, "failed otherwise"),
        (BOGUS, AWAY, "no DNS resolver answers"),
        (SIGNED, FAILS, "is not answered"),
        (SIGNED, SILENT, "is not answered"),
        (SIGNED, AWAY, "no DNS resolver answers"),
        (SIGNED, RuntimeError("a bug"), "a fault of ours"),
    ],
)
async def test_anything_else_is_red_and_says_why(name: str, entry: object, said: str) -> None:
    table = healthy()
    table.table[f"{name} A"] = entry  # type: ignore[assignment]
    bird = made(table)
    await bird.look()
    with pytest.raises(TransientError, match=said):
        bird.require_green()


async def test_it_is_red_until_it_has_looked_and_when_it_has_not_for_long() -> None:
    day = Day()
    bird = made(healthy(), day)
    assert "not looked yet" in bird.trouble
    await bird.look()
    day.clock.at += int(STALE_SECONDS)
    assert bird.trouble == ""
    day.clock.at += 1
    assert "has not looked for 181 s" in bird.trouble


async def test_it_looks_every_minute_and_more_often_while_red(caplog: pytest.LogCaptureFixture) -> None:
    table, day = healthy(), Day(sleeps=6)
    bird = made(table, day)
    with caplog.at_level(logging.INFO, "validation.dns.canary"):
        await bird.look()

        async def breaking(seconds: float) -> None:
            await day.sleep(seconds)
            table.table[f"{BOGUS} A"] = ["192.0.2.1"] if 2 <= len(day.slept) < 4 else FAILS

        bird = Canary(table, BOGUS, SIGNED, day.clock, SystemRandomness(), breaking)
        await bird.look()
        with contextlib.suppress(asyncio.CancelledError):
            await bird.keep()
    assert day.slept == [INTERVAL, INTERVAL, RED_INTERVAL, RED_INTERVAL, INTERVAL, INTERVAL]
    assert caplog.text.count("NO VERDICTS") == 1
    assert caplog.text.count("the canary is green") == 3


# --- the line to the Internet ---------------------------------------------------------------------------


class Net(TableResolver):
    """The names of `healthy`, which a cut leaves in the cache, and those that nobody has asked for before."""

    def __init__(self, table: dict[str, Entry] | None = None) -> None:
        super().__init__({f"{BOGUS} A": FAILS, f"{SIGNED} A": ["192.0.2.1"]} | (table or {}))
        self.line: Entry = None
        self.hangs = False
        self.new: list[str] = []

    async def lookup(self, name: str, type: Type) -> Answer:
        if name.endswith(f".{SIGNED}"):
            self.new.append(name)
            self.table[f"{name} {type}"] = self.line
            await asyncio.sleep(60 if self.hangs else 0)
        return await super().lookup(name, type)


async def green(net: Net) -> tuple[Canary, Day]:
    """A canary that has looked, so long ago that what it saw of the line is good no more."""
    day = Day()
    bird = made(net, day)
    await bird.look()
    assert bird.trouble == ""
    day.clock.at += int(LINE_WELL_SECONDS)
    net.new.clear()
    return bird, day


@pytest.mark.row("errors.server-internal")
@pytest.mark.parametrize("entry", [None, (), ["192.0.2.1"]])
async def test_a_name_that_is_in_no_cache_shows_that_the_line_is_well(entry: Entry) -> None:
    net = Net()
    net.line = entry
    bird, _ = await green(net)
    await bird.require_line()
    assert len(net.new) == 1


@pytest.mark.row("errors.server-internal")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            LookupFailure(SIGNED, Type.A, "SERVFAIL: lame", Fault.LAME),
            "line to the Internet is cut.*no usable answer",
        ),
        (SILENT, "line to the Internet is cut.*in time"),
        (AWAY, "no DNS resolver answers"),
    ],
)
async def test_a_cut_line_is_seen_though_the_names_of_the_canary_are_in_the_cache(
    entry: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    net = Net()
    bird, _ = await green(net)
    net.line = entry
    for asked in (1, 2):
        with pytest.raises(TransientError, match=said):
            await bird.require_line()
        assert len(net.new) == asked
    await bird.look()
    with pytest.raises(TransientError, match=said):
        bird.require_green()
    with pytest.raises(TransientError, match=said):
        await bird.require_line()
    assert len(net.new) == len(set(net.new)) == 3
    await bird.look()
    assert caplog.text.count("NO VERDICTS") == 1


@pytest.mark.row("errors.server-internal")
async def test_silence_is_waited_for_two_seconds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LINE_SECONDS + DialLimits().check < DEADLINE_SECONDS
    monkeypatch.setattr(canary, "LINE_SECONDS", 0.01)
    net = Net()
    bird, _ = await green(net)
    net.hangs = True
    with pytest.raises(TransientError, match="not within"):
        await bird.require_line()


@pytest.mark.row("errors.server-internal")
async def test_a_crowd_asks_once_and_for_five_seconds_not_again() -> None:
    net = Net()
    bird, day = await green(net)
    await asyncio.gather(*(bird.require_line() for _ in range(50)))
    day.clock.at += int(LINE_WELL_SECONDS) - 1
    await bird.require_line()
    assert len(net.new) == 1
    day.clock.at += 1
    await bird.require_line()
    assert len(net.new) == len(set(net.new)) == 2


@pytest.mark.row("errors.server-internal")
async def test_a_crowd_shares_bad_news_and_one_who_leaves_takes_them_from_nobody() -> None:
    net = Net()
    bird, _ = await green(net)
    net.line = SILENT
    crowd = [asyncio.create_task(bird.require_line()) for _ in range(50)]
    await asyncio.sleep(0)
    crowd[0].cancel()
    told = await asyncio.gather(*crowd, return_exceptions=True)
    assert isinstance(told[0], asyncio.CancelledError)
    assert all(isinstance(each, TransientError) for each in told[1:])
    assert len(net.new) == 1


@pytest.mark.row("errors.server-internal")
async def test_a_line_that_a_check_finds_cut_is_looked_at_at_once() -> None:
    net = Net()
    never = asyncio.Event()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await never.wait()

    clock = FakeClock(1_800_000_000)
    bird = Canary(net, BOGUS, SIGNED, clock, SystemRandomness(), sleep)
    await bird.look()
    keeping = asyncio.create_task(bird.keep())
    clock.at += int(LINE_WELL_SECONDS)
    net.line = SILENT
    with pytest.raises(TransientError, match="cut"):
        await bird.require_line()
    async with asyncio.timeout(5):
        while len(slept) < 2:
            await asyncio.sleep(0)
    assert slept == [INTERVAL, RED_INTERVAL]
    assert "cut" in bird.trouble
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


# --- what hangs on it -----------------------------------------------------------------------------------


@pytest.mark.row("errors.server-internal")
@pytest.mark.parametrize("method", ["dns-01", "http-01", ""])
async def test_while_it_is_red_no_check_passes_or_fails(method: str) -> None:
    table = healthy()
    table.table |= {"_acme-challenge.www.example.com TXT": [DIGEST], "com CAA": [], "example.com CAA": []}
    bird = made(table)
    settings = Settings(ca=Ca(caa_identities=("ca.example",)), validation=Validation())
    checker = make_checker(
        settings,
        "local",
        PerspectiveKey(ec.generate_private_key(ec.SECP256R1())),
        table,
        FakeClock(1_800_000_000),
        bird,
    )
    request = CheckRequest("www.example.com", ACCOUNT, "attempt", method, "dns-01", TOKEN, THUMBPRINT)

    async def verdicts() -> Statement:
        return (await checker.check(request)).signed.statement()

    seen = await verdicts()
    for verdict in filter(None, (seen.control, seen.caa)):
        assert (verdict.result, verdict.problem) == (Result.INDETERMINATE, "serverInternal")
        assert "canary" in verdict.detail
    assert table.asked == []
    await bird.look()
    seen = await verdicts()
    assert seen.caa is not None
    assert seen.caa.result == Result.PASS
    if method == "dns-01":
        assert seen.control is not None
        assert seen.control.result == Result.PASS


async def test_a_perspective_waits_for_green_and_then_starts() -> None:
    table, day = healthy(), Day()
    table.table[f"{SIGNED} A"] = SILENT

    async def mending(seconds: float) -> None:
        await day.sleep(seconds)
        if len(day.slept) == 3:
            table.table[f"{SIGNED} A"] = ["192.0.2.1"]

    bird = Canary(table, BOGUS, SIGNED, day.clock, SystemRandomness(), mending)
    await bird.start(wait=True)
    assert bird.trouble == ""
    assert len(day.slept) == 3


@pytest.mark.row("errors.server-internal")
async def test_one_that_stays_red_keeps_no_ca_from_starting_and_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A CA that does not start publishes no revocations either."""
    day = Day()
    bird = made(TableResolver(), day)
    await bird.start(wait=True)
    assert sum(day.slept) == canary.FIRST_SECONDS
    assert "NOTHING IS ATTESTED" in caplog.text
    assert "validation.canary_bogus" in caplog.text
    with pytest.raises(TransientError, match="does not validate"):
        bird.require_green()
    caplog.clear()
    await bird.start(wait=False)
    assert "NOTHING IS ATTESTED" not in caplog.text


def test_public_rules_always_have_a_canary_and_private_ones_when_its_names_are_set() -> None:
    clock, table, chance = FakeClock(1), TableResolver(), SystemRandomness()
    named = Validation(canary_bogus=BOGUS, canary_signed=SIGNED)
    public = Ca(rules=Rules.PUBLIC)
    assert canary.of(Settings(), table, clock, chance) is None
    assert canary.of(Settings(validation=named), table, clock, chance) is not None
    assert canary.of(Settings(ca=public), table, clock, chance) is not None


# --- real resolvers -------------------------------------------------------------------------------------


async def test_it_is_green_with_a_resolver_that_validates(world: World, tmp_path: Path) -> None:
    async with opened(validation_in(world), tmp_path) as resolver:
        bird = Canary(resolver, *CANARY.values(), FakeClock(1), SystemRandomness())
        await bird.look()
        assert bird.trouble == ""


@pytest.mark.row("dns.no-loosening")
@pytest.mark.parametrize(
    ("loose", "said"),
    [
        ('module-config: "iterator"', "was answered all the same.*was not called authentic"),
        ("val-permissive-mode: yes", "was answered all the same"),
        ('domain-insecure: "example.com"', "was not called authentic"),
        ("val-override-date: 20190101000000", "is not answered"),
    ],
)
async def test_it_sees_what_a_configuration_loosened_by_itself(
    world: World, tmp_path: Path, loose: str, said: str
) -> None:
    include = loosened(world, tmp_path, loose)
    async with opened(validation_in(world, include=include), tmp_path) as resolver:
        bird = Canary(resolver, *CANARY.values(), FakeClock(1), SystemRandomness())
        await bird.look()
        with pytest.raises(TransientError, match=said):
            bird.require_green()


@pytest.mark.row("errors.server-internal")
async def test_a_line_that_is_cut_after_a_green_look_fails_nobody(tmp_path: Path) -> None:
    """Real servers: an Unbound of our own, and an Internet that goes away behind it."""
    clock = FakeClock(1_800_000_000)
    with World() as away:
        validation = validation_in(away, **CANARY)
        async with opened(validation, tmp_path) as resolver:
            bird = Canary(resolver, *CANARY.values(), clock, SystemRandomness())
            key = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
            settings = Settings(ca=Ca(caa_identities=("ca.example",)), validation=validation)
            checker = make_checker(settings, "local", key, resolver, clock, bird)

            async def seen(name: str, method: str) -> Statement:
                request = CheckRequest(name, ACCOUNT, "attempt", method, "", TOKEN, THUMBPRINT)
                return (await checker.check(request)).signed.statement()

            await bird.look()
            well = (await seen("www.tampered-example.com", "dns-01")).control
            assert well is not None
            assert (well.result, well.problem) == (Result.FAIL, "dns")
            away.stop()
            clock.at += int(LINE_WELL_SECONDS)
            assert bird.trouble == ""
            statement = await seen("www.new.example.com", "dns-01")
            assert statement.control is not None
            assert statement.caa is not None
            for verdict in (statement.control, statement.caa):
                assert (verdict.result, verdict.problem) == (Result.INDETERMINATE, "serverInternal")
                assert "line to the Internet is cut" in verdict.detail
