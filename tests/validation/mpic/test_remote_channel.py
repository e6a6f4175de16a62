"""The channel to a perspective elsewhere: real mutual TLS, honest perspectives and hostile ones.

Whatever goes wrong on the way, or comes back wrong, is no answer and corroborates nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from core import facts
from core.clock import FakeClock, SystemClock
from core.data_directory import DataDirectory
from core.errors import Refused, TransientError
from core.evidence import PerspectiveKey, Result, verify
from core.settings import Perspective
from tests.support.elsewhere import (
    ACCOUNT,
    DIGEST,
    THUMBPRINT,
    TOKEN,
    Honest,
    Hostile,
    Pki,
    Reply,
    coordinator_settings,
)
from tests.support.fake_dns import failure
from validation.api import CheckRequest, Looked, PreflightRequest
from validation.mpic import open_mpic, peer, remote_server, translation
from validation.mpic.channel import channels
from validation.mpic.mutual_tls import Identity
from validation.mpic.open_mpic import DcvRequest
from validation.mpic.remote_channel import RemoteChannel

CHECK = CheckRequest("www.example.com", ACCOUNT, "attempt", "dns-01", "", TOKEN, THUMBPRINT)
RECHECK = CheckRequest("*.example.com", ACCOUNT, "attempt", "", "dns-01")
TXT = "_acme-challenge.www.example.com TXT"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("channel") / "root")


@pytest.fixture(scope="module")
def data(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    directory = DataDirectory(tmp_path_factory.mktemp("ca"))
    pki.coordinator(directory)
    return directory


@pytest.fixture
def far(pki: Pki, tmp_path: Path) -> Honest:
    return Honest("far", Identity(pki.give(tmp_path / "far", "far"), server=True), {TXT: [DIGEST]})


@asynccontextmanager
async def channel(data: DataDirectory, url: str, timeout: float = 10) -> AsyncIterator[RemoteChannel]:
    made = channels(data, coordinator_settings(Perspective("far", url=url)), timeout)["far"]
    assert isinstance(made, RemoteChannel)
    try:
        yield made
    finally:
        await made.close()


@pytest.mark.row("mpic.channel", "mpic.stateless")
@pytest.mark.clause("BR 3.2.2.9")
async def test_a_check_and_a_recheck_come_back_signed(data: DataDirectory, far: Honest) -> None:
    async with far.serving(), channel(data, far.url) as to:
        control = verify((await to.check(CHECK)).signed, far.private_key.public_key()).control
        recheck = verify((await to.check(RECHECK)).signed, far.private_key.public_key())
    assert control is not None
    assert (control.result, control.method, control.thumbprint) == (Result.PASS, "dns-01", THUMBPRINT)
    assert (recheck.name, recheck.control) == ("*.example.com", None)
    assert recheck.caa is not None
    assert (recheck.caa.result, recheck.caa.method) == (Result.PASS, "dns-01")


async def test_facts_come_beside_the_statement_and_hostile_ones_cost_no_voice(
    data: DataDirectory, far: Honest, pki: Pki, tmp_path: Path
) -> None:
    async with far.serving(), channel(data, far.url) as to:
        read = facts.decode((await to.check(CHECK)).facts)
    assert read is not None
    assert (read.lookups[0].name, read.lookups[0].count) == ("_acme-challenge.www.example.com", 1)
    async with hostile(data, pki, tmp_path, answering(facts="AAAA" * 20_000)) as to:
        looked = await to.check(CHECK)
    assert looked.signed.statement().attempt == "attempt"
    assert facts.decode(looked.facts) is None


async def test_a_preflight_comes_back_unsigned(data: DataDirectory, far: Honest) -> None:
    asked = PreflightRequest("www.example.com", ACCOUNT, ("dns-01",), TOKEN, (THUMBPRINT,))
    async with far.serving(), channel(data, far.url) as to:
        preview = await to.preflight(asked)
        with pytest.raises(Refused, match=r"preflight\.methods"):
            await to.preflight(dataclasses.replace(asked, methods=()))
        to.distrust("it lies")
        with pytest.raises(TransientError, match="it lies"):
            await to.preflight(asked)
    assert [(each.method, each.seen.result) for each in preview.prospects] == [("dns-01", Result.PASS)]
    assert far.signed == []


async def test_a_failure_is_signed_evidence_too(data: DataDirectory, far: Honest) -> None:
    far.resolver.table[TXT] = ["wrong"]
    async with far.serving(), channel(data, far.url) as to:
        control = (await to.check(CHECK)).signed.statement().control
    assert control is not None
    assert (control.result, control.problem) == (Result.FAIL, "unauthorized")


async def test_the_perspectives_account_of_itself_arrives(data: DataDirectory, far: Honest) -> None:
    async with far.serving(), channel(data, far.url) as to:
        health = await to.health()
    assert (health.code, health.region, health.public_key) == ("far", "APNIC", far.spki)
    assert health.ends == far.identity.ends


async def test_many_checks_share_few_warm_connections(data: DataDirectory, far: Honest) -> None:
    async with far.serving(connections=1), channel(data, far.url) as to:
        for _ in range(5):
            await to.check(CHECK)


async def test_a_perspective_that_started_again_is_found_behind_a_dead_connection(
    data: DataDirectory, far: Honest
) -> None:
    async with far.serving():
        port = int(far.url.rpartition(":")[2])
        to = channel(data, far.url)
        opened = await to.__aenter__()
        await opened.check(CHECK)
    with pytest.raises(TransientError, match=r"Cannot connect to host \S+ \["):
        await opened.check(CHECK)
    async with far.serving(port=port):
        await opened.check(CHECK)
        await to.__aexit__(None, None, None)


async def test_a_refusal_arrives_with_its_code(data: DataDirectory, far: Honest) -> None:
    async with far.serving(), channel(data, far.url) as to:
        with pytest.raises(Refused, match=r"validation\.token"):
            await to.check(dataclasses.replace(CHECK, token="short"))


@pytest.mark.row("mpic.coordinator")
async def test_a_check_that_was_not_completed_corroborates_nothing(data: DataDirectory, far: Honest) -> None:
    far.resolver.table[TXT] = TransientError("no resolver answers")
    async with far.serving(), channel(data, far.url) as to:
        with pytest.raises(TransientError, match="not completed: no resolver answers"):
            await to.check(CHECK)


async def test_a_lookup_that_fails_is_a_completed_check(data: DataDirectory, far: Honest) -> None:
    far.resolver.table[TXT] = failure()
    async with far.serving(), channel(data, far.url) as to:
        control = (await to.check(CHECK)).signed.statement().control
    assert control is not None
    assert (control.result, control.problem) == (Result.FAIL, "dns")


async def test_a_clock_that_stepped_back_elsewhere_does_not_halt_this_ca(
    data: DataDirectory, far: Honest
) -> None:
    clock = FakeClock(int(SystemClock().now()))
    async with far.serving(clock), channel(data, far.url) as to:
        await to.check(CHECK)
        clock.at -= 100
        with pytest.raises(TransientError, match="went back"):
            await to.check(CHECK)


@pytest.mark.row("mpic.channel", "attacks.rogue-perspective")
async def test_a_perspective_under_the_name_of_another_is_not_asked(
    data: DataDirectory, pki: Pki, tmp_path: Path
) -> None:
    other = Honest("other", Identity(pki.give(tmp_path / "other", "other"), server=True), {TXT: [DIGEST]})
    async with other.serving(), channel(data, other.url) as to:
        with pytest.raises(TransientError, match="ostname mismatch"):
            await to.check(CHECK)
    assert other.resolver.asked == []


@pytest.mark.row("mpic.channel", "attacks.rogue-perspective")
async def test_a_perspective_with_a_certificate_of_another_root_is_not_asked(
    data: DataDirectory, tmp_path: Path
) -> None:
    foreign = Pki(tmp_path / "root")
    rogue = Honest("far", Identity(foreign.give(tmp_path / "far", "far"), server=True), {TXT: [DIGEST]})
    async with rogue.serving(), channel(data, rogue.url) as to:
        with pytest.raises(TransientError, match="certificate verify failed"):
            await to.check(CHECK)
    assert rogue.resolver.asked == []


@pytest.mark.row("mpic.channel", "attacks.rogue-perspective")
async def test_a_perspective_whose_certificate_has_ended_is_not_asked(
    data: DataDirectory, pki: Pki, tmp_path: Path
) -> None:
    long_ago = FakeClock(SystemClock().now() - 40 * 86400)
    late = Honest("far", Identity(pki.give(tmp_path / "far", "far", long_ago), server=True), {TXT: [DIGEST]})
    async with late.serving(), channel(data, late.url) as to:
        with pytest.raises(TransientError, match="expired"):
            await to.check(CHECK)


@pytest.mark.row("mpic.channel")
async def test_the_coordinators_certificate_does_not_make_a_perspective(
    data: DataDirectory, pki: Pki, tmp_path: Path
) -> None:
    thief = Honest("coordinator", Identity(data.mpic, server=True), {TXT: [DIGEST]})
    settings = coordinator_settings(Perspective("coordinator"))
    async with thief.serving():
        url = dataclasses.replace(settings.validation.perspectives[0], url=thief.url)
        to = channels(data, coordinator_settings(url), 10)["coordinator"]
        with pytest.raises(TransientError, match="certificate"):
            await to.check(CHECK)
        await to.close()


async def test_without_an_identity_of_its_own_the_coordinator_says_what_to_do(
    tmp_path: Path, far: Honest
) -> None:
    async with far.serving(), channel(DataDirectory(tmp_path / "bare"), far.url) as to:
        with pytest.raises(TransientError, match="acme-server mpic request"):
            await to.check(CHECK)


async def test_a_perspective_that_is_away_is_a_fault_of_the_way(data: DataDirectory, far: Honest) -> None:
    async with far.serving():
        url = far.url
    async with channel(data, url) as to:
        with pytest.raises(TransientError, match="onnect"):
            await to.check(CHECK)


@asynccontextmanager
async def hostile(
    data: DataDirectory, pki: Pki, path: Path, reply: Reply, timeout: float = 10
) -> AsyncIterator[RemoteChannel]:
    identity = Identity(pki.give(path / "hostile", "far"), server=True)
    async with Hostile(identity.context, reply) as host, channel(data, host.url, timeout) as to:
        yield to


def answering(**change: object) -> Reply:
    """An honest, signed reply, but for `change` of its top-level members."""
    key = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))

    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        wanted = translation.attested(open_mpic.decode(body, DcvRequest), ["ca.example"])
        assert wanted is not None
        signed = key.sign(passing(wanted))
        honest = json.loads(open_mpic.encode(translation.attestation_response(Looked(signed), "acme-dns-01")))
        return web.json_response({**honest, **change})

    return reply


def passing(wanted: CheckRequest):
    from core.evidence import CaaSeen, ControlSeen, Statement

    control = ControlSeen(wanted.method, wanted.name, Result.PASS, thumbprint=wanted.thumbprint)
    seen = CaaSeen(Result.PASS, method=wanted.method)
    at = SystemClock().now()
    return Statement("far", wanted.name, wanted.account_url, wanted.attempt, at, control, seen)


async def test_the_hostile_host_is_believed_when_it_does_not_lie(
    data: DataDirectory, pki: Pki, tmp_path: Path
) -> None:
    async with hostile(data, pki, tmp_path, answering()) as to:
        assert (await to.check(CHECK)).signed.statement().attempt == "attempt"


@pytest.mark.row("mpic.coordinator", "attacks.rogue-perspective")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attestation": None}, "no signed statement"),
        ({"attestation": {"key_id": "", "payload": "AAAA", "signature": ""}}, "not an evidence statement"),
        ({"attestation": {"key_id": "???"}}, "no Open MPIC message"),
        ({"check_completed": False}, "not completed"),
        ({"check_type": "caa"}, "a question about dcv"),
        ({"check_type": "x\n\x1b[31m"}, r"x\\x0a\\x1b"),
        ({"check_passed": False}, "contradicts"),
        ({"check_passed": "yes"}, "no Open MPIC message"),
        ({"errors": [{"error_type": "x", "error_message": "y"}] * 100}, "no Open MPIC message"),
    ],
)
async def test_a_reply_that_is_not_whole_or_contradicts_itself_corroborates_nothing(
    data: DataDirectory, pki: Pki, tmp_path: Path, change: dict, said: str
) -> None:
    async with hostile(data, pki, tmp_path, answering(**change)) as to:
        with pytest.raises(TransientError, match=said):
            await to.check(CHECK)


def sending(body: bytes, status: int = 200, **headers: str) -> Reply:
    async def reply(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return reply


async def endless(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def silent(request: web.BaseRequest) -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def dripping(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


@pytest.mark.row("mpic.coordinator", "attacks.rogue-perspective")
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (sending(b"not JSON"), "no Open MPIC message"),
        (sending(b"x", 500), "status 500"),
        (sending(b"x", 422), "status 422"),
        (sending(b"", 302, Location="https://127.0.0.1:1/"), "status 302"),
        (sending(b"\x1f\x8b" + b"0" * 50, 200, **{"Content-Encoding": "gzip"}), "no Open MPIC message"),
        (sending(b"", 200, **{"X-Long": "x" * 20000}), "https://127.0.0.1"),
        (endless, "longer than"),
        (silent, "no answer"),
        (dripping, "no answer"),
    ],
    ids=["text", "500", "422", "redirect", "gzip", "header", "endless", "silent", "drip"],
)
async def test_a_reply_that_misbehaves_is_bounded_and_no_answer(
    data: DataDirectory, pki: Pki, tmp_path: Path, reply: Reply, said: str
) -> None:
    async with hostile(data, pki, tmp_path, reply, timeout=1) as to:
        with pytest.raises(TransientError, match=said):
            await to.check(CHECK)


async def test_a_distrusted_perspective_is_not_asked(data: DataDirectory, far: Honest) -> None:
    async with far.serving(), channel(data, far.url) as to:
        to.distrust("its key is not the pinned one")
        with pytest.raises(TransientError, match="not the pinned one"):
            await to.check(CHECK)
    assert far.resolver.asked == []


async def test_a_proxy_of_the_environment_is_not_heeded(
    data: DataDirectory, far: Honest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with far.serving(), channel(data, far.url) as to:
        await to.check(CHECK)


def test_the_server_keeps_a_connection_longer_than_its_client() -> None:
    assert remote_server.WARM_SECONDS > peer.WARM_SECONDS
