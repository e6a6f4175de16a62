"""Seven perspectives as real processes on "hosts" of their own: killed, stopped, replaced by liars.

The coordinator runs under the public rules with six remotes, of which two may fail.  What it lets pass, the
vault's own verifier is asked about, too.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement, key_id
from core.outcome import Absence, Outcome
from core.randomness import SystemRandomness
from core.settings import Perspective, Rules
from signer.vault.judgement.evidence import PinnedPerspective, Verifier
from tests.support.applicant import ACCOUNT_KEY
from tests.support.elsewhere import ACCOUNT, OURS, TOKEN, Hostile, Pki, coordinator_settings
from tests.support.remote_host import RemoteHost
from tests.support.software_ca import leaf_request
from tests.world.world import World
from validation.api import CheckRequest
from validation.challenge import Challenge
from validation.methods.txt import text_of
from validation.mpic import client, open_mpic, translation
from validation.mpic.client import Perspectives
from validation.mpic.mutual_tls import Identity
from validation.mpic.open_mpic import DcvRequest

NAME = "seven.example.com"
PLACES = {
    "tokyo": "APNIC",
    "singapore": "APNIC",
    "sydney": "APNIC",
    "oregon": "ARIN",
    "virginia": "ARIN",
    "frankfurt": "RIPE NCC",
    "dublin": "RIPE NCC",
}
DEADLINE = 4.0

pytestmark = [pytest.mark.timeout(120), pytest.mark.long]


class Fleet:
    """The hosts, and the CA that asks them."""

    def __init__(self, pki: Pki, data: DataDirectory, hosts: dict[str, RemoteHost]) -> None:
        self.pki, self.data, self.hosts = pki, data, hosts

    @asynccontextmanager
    async def asked(
        self, *, pinned: bool = True, **urls: str
    ) -> AsyncIterator[Callable[[], Awaitable[Outcome]]]:
        """A call that validates NAME; `urls` replace hosts by their codes."""
        places = tuple(self._place(code, urls.get(code)) for code in PLACES)
        settings = coordinator_settings(*places, rules=Rules.PUBLIC)
        asking = Perspectives(self.data, settings, SystemClock(), SystemRandomness(), deadline=DEADLINE)
        if pinned:
            for code, host in self.hosts.items():
                asking.channels[code].pin(host.spki)

        async def check() -> Outcome:
            return await asking.check(NAME, ACCOUNT, "dns-01", TOKEN, ACCOUNT_KEY.thumbprint)

        try:
            yield check
        finally:
            await asking.close()

    def verify(self, statements: tuple[SignedStatement, ...]) -> None:
        """What the vault says.  Raises `Refused`."""
        pinned = {
            key_id(host.public_key): PinnedPerspective(code, PLACES[code], 0.0, 0.0, host.public_key)
            for code, host in self.hosts.items()
        }
        request = leaf_request(names=(NAME,), account_url=ACCOUNT, evidence=statements)
        Verifier(pinned, Rules.PUBLIC, ()).verify(request, SystemClock().now())

    def _place(self, code: str, url: str | None) -> Perspective:
        place = self.hosts[code].perspective
        return place if url is None else replace(place, url=url)


@pytest.fixture(scope="module")
def fleet(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    path = tmp_path_factory.mktemp("fleet")
    pki, data = Pki(path / "root"), DataDirectory(path / "ca")
    pki.coordinator(data)
    validation = {"resolvers": [world.resolver], "methods": ["dns-01"]}
    hosts = {code: RemoteHost(path / code, pki, code, region, validation) for code, region in PLACES.items()}
    challenge = Challenge.of(NAME, False, ACCOUNT, TOKEN, ACCOUNT_KEY.thumbprint)
    world.set_txt(f"_acme-challenge.{NAME}", text_of(challenge.digest).decode())
    with ThreadPoolExecutor() as pool:
        list(pool.map(RemoteHost.start, hosts.values()))
    yield Fleet(pki, data, hosts)
    for host in hosts.values():
        host.stop()


def absences(outcome: Outcome) -> dict[str, Absence]:
    return {view.perspective: view.absence for view in outcome.views if view.absence is not None}


@pytest.mark.row("mpic.channel", "mpic.stateless")
@pytest.mark.clause("BR 3.2.2.9")
async def test_six_honest_remotes_corroborate_and_the_vault_agrees(fleet: Fleet) -> None:
    async with fleet.asked() as check:
        outcome = await check()
    assert (outcome.result, outcome.control_quorum, outcome.caa_quorum) == (Result.PASS, "6/6", "6/6")
    fleet.verify(outcome.statements)


@pytest.mark.row("mpic.quorum", "mpic.coordinator")
async def test_two_may_be_killed_and_a_third_that_hangs_is_too_many_until_they_are_back(fleet: Fleet) -> None:
    killed = [fleet.hosts["sydney"], fleet.hosts["oregon"]]
    slow = fleet.hosts["dublin"]
    async with fleet.asked() as check:
        assert (await check()).result is Result.PASS
        for host in killed:
            host.kill()
        outcome = await check()
        assert (outcome.result, outcome.control_quorum) == (Result.PASS, "4/6")
        assert absences(outcome) == {"sydney": Absence.TRANSPORT, "oregon": Absence.TRANSPORT}
        fleet.verify(outcome.statements)
        slow.signal(signal.SIGSTOP)
        outcome = await check()
        assert (outcome.result, outcome.problem) == (Result.INDETERMINATE, "serverInternal")
        assert absences(outcome)["dublin"] is Absence.SILENT
        with pytest.raises(Refused, match="quorum"):
            fleet.verify(outcome.statements)
        slow.signal(signal.SIGCONT)
        for host in killed:
            host.start()
        outcome = await check()
        assert (outcome.result, outcome.control_quorum) == (Result.PASS, "6/6")


@pytest.mark.row("mpic.coordinator")
async def test_a_primary_that_is_killed_leaves_no_verdict_and_no_failure(fleet: Fleet) -> None:
    primary = fleet.hosts["tokyo"]
    primary.kill()
    try:
        async with fleet.asked() as check:
            outcome = await check()
    finally:
        primary.start()
    assert (outcome.result, outcome.problem) == (Result.INDETERMINATE, "serverInternal")
    with pytest.raises(Refused, match=r"evidence\.missing"):
        fleet.verify(outcome.statements)


Lie = Callable[[CheckRequest], SignedStatement | None]


def statement(code: str, asked: CheckRequest, **changes: object) -> Statement:
    control = ControlSeen(asked.method, asked.name, Result.PASS, thumbprint=asked.thumbprint)
    seen = CaaSeen(Result.PASS, method=asked.method)
    honest = Statement(code, asked.name, asked.account_url, asked.attempt, SystemClock().now(), control, seen)
    return replace(honest, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def liars(
    fleet: Fleet, path: Path, *codes: str, lie: Callable[[str], Lie]
) -> AsyncIterator[dict[str, str]]:
    """Hosts that took the places of `codes`, certificates and all; the URLs by code."""
    async with AsyncExitStack() as stack:
        urls = {}
        for code in codes:
            identity = Identity(fleet.pki.give(path / code, code), server=True)
            urls[code] = (await stack.enter_async_context(Hostile(identity.context, _lying(lie(code))))).url
        yield urls


def _lying(lie: Lie) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        asked = translation.attested(open_mpic.decode(await request.read(), DcvRequest), [OURS])
        assert asked is not None
        signed = lie(asked)
        forged = open_mpic.CheckResponse("dcv", check_passed=True, check_completed=True, attestation=signed)
        return web.Response(body=open_mpic.encode(forged), content_type="application/json")

    return reply


def by_another_key(code: str) -> Lie:
    key = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
    return lambda asked: key.sign(statement(code, asked))


def unsigned(code: str) -> Lie:
    return lambda asked: None


def with_a_broken_signature(fleet: Fleet) -> Callable[[str], Lie]:
    def of(code: str) -> Lie:
        key = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))
        claimed = key_id(fleet.hosts[code].public_key)
        return lambda asked: replace(key.sign(statement(code, asked)), key_id=claimed)

    return of


@pytest.mark.row("attacks.rogue-perspective")
@pytest.mark.parametrize("lie", ["unsigned", "another key", "broken signature"])
async def test_a_forged_pass_corroborates_nothing_and_costs_no_more_than_its_voice(
    fleet: Fleet, tmp_path: Path, lie: str
) -> None:
    lies = {
        "unsigned": unsigned,
        "another key": by_another_key,
        "broken signature": with_a_broken_signature(fleet),
    }
    async with (
        liars(fleet, tmp_path, "oregon", "dublin", lie=lies[lie]) as urls,
        fleet.asked(**urls) as check,
    ):
        outcome = await check()
    assert (outcome.result, outcome.control_quorum) == (Result.PASS, "4/6")
    assert absences(outcome) == {"oregon": Absence.TRANSPORT, "dublin": Absence.TRANSPORT}
    fleet.verify(outcome.statements)


@pytest.mark.row("attacks.rogue-perspective")
async def test_a_coordinator_that_was_taken_over_gets_no_certificate_with_forged_statements(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with (
        liars(fleet, tmp_path, "oregon", lie=by_another_key) as urls,
        fleet.asked(pinned=False, **urls) as check,
    ):
        outcome = await check()
    assert (outcome.result, outcome.control_quorum) == (Result.PASS, "6/6")
    with pytest.raises(Refused, match=r"evidence\.unknown-key"):
        fleet.verify(outcome.statements)


@pytest.mark.row("attacks.rogue-perspective", "mpic.no-sharing")
async def test_old_statements_that_are_replayed_contradict_the_request(fleet: Fleet, tmp_path: Path) -> None:
    async with fleet.asked() as check:
        earlier = {each.statement().perspective: each for each in (await check()).statements}

    def replayed(code: str) -> Lie:
        return lambda asked: earlier[code]

    async with (
        liars(fleet, tmp_path, "oregon", "virginia", "dublin", lie=replayed) as urls,
        fleet.asked(**urls) as check,
    ):
        outcome = await check()
    assert (outcome.result, outcome.problem) == (Result.INDETERMINATE, "serverInternal")
    assert absences(outcome) == dict.fromkeys(urls, Absence.CONTRADICTION)
    # Added to the honest ones by whoever has the coordinator, they are of another attempt.
    with pytest.raises(Refused) as refused:
        fleet.verify((*outcome.statements, *outcome.set_aside))
    assert refused.value.code == "evidence.attempts"


@pytest.mark.row("mpic.channel", "attacks.rogue-perspective")
async def test_a_host_that_answers_at_anothers_address_is_one_voice_less(fleet: Fleet) -> None:
    async with fleet.asked(oregon=fleet.hosts["virginia"].perspective.url) as check:
        outcome = await check()
    assert (outcome.result, outcome.control_quorum) == (Result.PASS, "5/6")
    assert absences(outcome) == {"oregon": Absence.TRANSPORT}


@pytest.mark.row("mpic.coordinator")
async def test_a_straggler_is_not_waited_for(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STRAGGLER_SECONDS", 0.2)
    slow = fleet.hosts["dublin"]
    slow.signal(signal.SIGSTOP)
    try:
        async with fleet.asked() as check:
            outcome = await check()
    finally:
        slow.signal(signal.SIGCONT)
    assert (outcome.result, outcome.control_quorum) == (Result.PASS, "5/6")
    assert absences(outcome) == {"dublin": Absence.SILENT}
    assert outcome.took < 1000 * DEADLINE
