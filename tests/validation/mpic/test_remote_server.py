"""A perspective's doors: who is let in, what is signed and what is not, and what strangers and floods get."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from core.clock import FakeClock, SystemClock
from tests.support.elsewhere import ACCOUNT, DIGEST, OURS, THUMBPRINT, TOKEN, ZONE, Honest, Pki
from tests.support.fake_dns import caa, failure
from validation.api import CheckRequest, Looked
from validation.mpic import open_mpic, remote_server, translation
from validation.mpic.mutual_tls import COORDINATOR, Identity

CHECK = CheckRequest("www.example.com", ACCOUNT, "attempt", "dns-01", "", TOKEN, THUMBPRINT)
TXT = "_acme-challenge.www.example.com TXT"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("channel") / "root")


@pytest.fixture(scope="module")
def coordinator(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return Identity(pki.give(tmp_path_factory.mktemp("ca") / "mpic", COORDINATOR), server=False).context


@pytest.fixture
async def far(pki: Pki, tmp_path: Path) -> AsyncIterator[Honest]:
    made = Honest("far", Identity(pki.give(tmp_path / "far", "far"), server=True), {TXT: [DIGEST]})
    async with made.serving(connections=2):
        yield made


async def ask(
    far: Honest, context: ssl.SSLContext, method: str, path: str, body: object = None
) -> tuple[int, dict]:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method,
            far.url + path,
            data=octets,
            ssl=context,
            server_hostname=f"far.{ZONE}",
            allow_redirects=False,
        ) as response,
    ):
        return response.status, json.loads(await response.read())


def attesting(check: CheckRequest = CHECK) -> bytes:
    return open_mpic.encode(translation.attesting(check, [OURS]))


def stock(method: str = "acme-dns-01", **parameters: object) -> dict:
    return {
        "domain_or_ip_target": "www.example.com",
        "dcv_check_parameters": {"validation_method": method, **parameters},
    }


@pytest.mark.row("mpic.channel")
@pytest.mark.clause("BR 3.2.2.9")
async def test_without_a_client_certificate_there_is_no_answer(far: Honest, pki: Pki) -> None:
    context = ssl.create_default_context(cafile=pki.directory / "root.pem")
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await ask(far, context, "GET", "/healthz")


@pytest.mark.row("mpic.channel")
async def test_a_client_certificate_of_another_root_is_refused_in_the_handshake(
    far: Honest, pki: Pki, tmp_path: Path
) -> None:
    foreign = Pki(tmp_path / "root").give(tmp_path / "stranger", COORDINATOR)
    context = Identity(foreign, server=False).context
    context.load_verify_locations(pki.directory / "root.pem")
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await ask(far, context, "GET", "/healthz")


@pytest.mark.row("mpic.channel")
async def test_another_perspectives_certificate_does_not_open_the_doors(
    far: Honest, pki: Pki, tmp_path: Path
) -> None:
    context = Identity(pki.give(tmp_path / "other", "other"), server=False).context
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await ask(far, context, "GET", "/healthz")


@pytest.mark.row("mpic.channel")
async def test_a_client_certificate_for_another_name_is_told_so(
    far: Honest, coordinator: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.doors._coordinator = "another.mpic.ca.example"
    status, body = await ask(far, coordinator, "POST", "/dcv", attesting())
    assert (status, body["errors"][0]["error_type"]) == (403, "open-mpic.stranger")
    assert far.resolver.asked == []


async def test_a_warm_connection_does_not_outlive_the_callers_certificate(
    pki: Pki, coordinator: ssl.SSLContext, tmp_path: Path
) -> None:
    made = Honest("far", Identity(pki.give(tmp_path / "far", "far"), server=True))
    async with made.serving(FakeClock(SystemClock().now() + 31 * 86400)):
        status, body = await ask(made, coordinator, "GET", "/healthz")
    assert (status, body["errors"][0]["error_message"]) == (
        403,
        f"the certificate of coordinator.{ZONE} has ended",
    )


@pytest.mark.row("mpic.channel")
async def test_tls_1_2_is_not_spoken(far: Honest, pki: Pki, tmp_path: Path) -> None:
    # By the coordinator itself, so that nothing but the version stands in the way.
    context = Identity(pki.give(tmp_path / "mpic", COORDINATOR), server=False).context
    assert (await ask(far, context, "GET", "/healthz"))[0] == 200
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await ask(far, context, "GET", "/healthz")


@pytest.mark.row("mpic.channel")
async def test_who_does_not_finish_the_handshake_is_cut_off_and_the_coordinator_is_served(
    pki: Pki, coordinator: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote_server.HANDSHAKE_SECONDS == 5.0
    monkeypatch.setattr(remote_server, "HANDSHAKE_SECONDS", 0.5)
    made = Honest("far", Identity(pki.give(tmp_path / "far", "far"), server=True))
    async with made.serving(connections=2):
        port = int(made.url.rpartition(":")[2])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert await ask(made, coordinator, "GET", "/healthz") == (200, {"status": "ok"})
        async with asyncio.timeout(10):
            for reader, writer in silent:
                assert await reader.read() == b""
                writer.close()


@pytest.mark.row("mpic.stateless")
async def test_health_and_configuration_are_told(far: Honest, coordinator: ssl.SSLContext) -> None:
    assert await ask(far, coordinator, "GET", "/healthz") == (200, {"status": "ok"})
    status, body = await ask(far, coordinator, "GET", "/configz")
    assert status == 200
    assert (body["code"], body["region"], body["ends"]) == ("far", "APNIC", far.identity.ends)


@pytest.mark.row("mpic.stateless")
async def test_what_names_no_door_is_not_found(far: Honest, coordinator: ssl.SSLContext) -> None:
    for method, path in (("GET", "/"), ("GET", "/dcv"), ("POST", "/mpic"), ("DELETE", "/caa")):
        status, body = await ask(far, coordinator, method, path)
        assert status in (404, 405)
        assert body["errors"][0]["error_type"] == "malformed"


@pytest.mark.row("mpic.open-mpic")
async def test_a_stock_coordinator_is_answered_and_nothing_is_signed(
    far: Honest, coordinator: ssl.SSLContext
) -> None:
    status, body = await ask(far, coordinator, "POST", "/dcv", stock(key_authorization_hash=DIGEST))
    assert status == 200
    assert (body["check_type"], body["check_passed"], body["check_completed"]) == ("dcv", True, True)
    assert body["attestation"] is None
    status, body = await ask(far, coordinator, "POST", "/caa", {"domain_or_ip_target": "www.example.com"})
    assert (status, body["check_type"], body["check_passed"]) == (200, "caa", True)
    assert body["attestation"] is None
    assert far.signed == []


async def test_a_stock_coordinators_lookup_failure_is_never_permission(
    far: Honest, coordinator: ssl.SSLContext
) -> None:
    far.resolver.table["example.com CAA"] = failure()
    asked = {
        "domain_or_ip_target": "www.example.com",
        "caa_check_parameters": {"allow_lookup_failure": True, "caa_domains": ["their.example"]},
    }
    _, body = await ask(far, coordinator, "POST", "/caa", asked)
    assert (body["check_passed"], body["details"]["problem_type"]) == (False, "dns")


async def test_a_stock_coordinator_has_its_own_caa_domains(far: Honest, coordinator: ssl.SSLContext) -> None:
    far.resolver.table["example.com CAA"] = [caa(0, "issue", "their.example")]
    asked: dict = {"domain_or_ip_target": "www.example.com"}
    _, body = await ask(far, coordinator, "POST", "/caa", asked)
    assert body["check_passed"] is False
    _, body = await ask(
        far,
        coordinator,
        "POST",
        "/caa",
        {**asked, "caa_check_parameters": {"caa_domains": ["their.example"]}},
    )
    assert body["check_passed"] is True
    assert body["details"]["records_seen"] == ['0 issue "their.example"']


@pytest.mark.row("attacks.token-confusion")
async def test_a_key_authorization_of_the_callers_choice_is_never_attested(
    far: Honest, coordinator: ssl.SSLContext
) -> None:
    body = json.loads(
        open_mpic.encode(
            translation.attesting(
                CheckRequest("www.example.com", ACCOUNT, "attempt", "http-01", "", TOKEN, THUMBPRINT), [OURS]
            )
        )
    )
    body["dcv_check_parameters"]["key_authorization"] = "Not Found"
    status, answer = await ask(far, coordinator, "POST", "/dcv", body)
    assert (status, answer["errors"][0]["error_type"]) == (422, "open-mpic.contradiction")
    assert far.signed == []
    assert far.resolver.asked == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/dcv", b"", 400),
        ("/dcv", b"x" * (open_mpic.REQUEST_OCTETS + 1), 413),
        ("/dcv", stock("website-change"), 400),
        ("/dcv", stock("dns-change", challenge_value="x"), 422),
        ("/caa", {"domain_or_ip_target": "UPPER.example.com"}, 422),
        ("/caa", {"domain_or_ip_target": "127.0.0.1/../"}, 422),
        ("/caa", {"domain_or_ip_target": "example.com"} | {"attest": {"name": "x"}}, 400),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_nothing_is_looked_at(
    far: Honest, coordinator: ssl.SSLContext, path: str, body: object, status: int
) -> None:
    assert (await ask(far, coordinator, "POST", path, body))[0] == status
    assert far.resolver.asked == []
    assert far.signed == []


async def test_a_fault_of_ours_is_told_without_its_inside(far: Honest, coordinator: ssl.SSLContext) -> None:
    far.resolver.table = None  # type: ignore[assignment]
    status, body = await ask(far, coordinator, "POST", "/dcv", attesting())
    assert (status, body["check_completed"]) == (200, False)
    assert "NoneType" not in json.dumps(body)


async def test_one_connection_too_many_is_closed(far: Honest, coordinator: ssl.SSLContext) -> None:
    host, _, port = far.url.removeprefix("https://").rpartition(":")
    held = [
        await asyncio.open_connection(host, int(port), ssl=coordinator, server_hostname=f"far.{ZONE}")
        for _ in range(2)
    ]
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await ask(far, coordinator, "GET", "/healthz")
    for _, writer in held:
        writer.close()


async def test_a_check_that_takes_too_long_ends(
    far: Honest, coordinator: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_server, "REQUEST_SECONDS", 0.2)

    async def never(check: CheckRequest) -> Looked:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(far.checker, "check", never)
    status, body = await ask(far, coordinator, "POST", "/dcv", attesting())
    assert (status, body["errors"][0]["error_type"]) == (503, "serverInternal")


async def test_a_renewed_certificate_is_served_without_a_restart(
    far: Honest, pki: Pki, coordinator: ssl.SSLContext, tmp_path: Path
) -> None:
    async def served_until() -> float:
        host, _, port = far.url.removeprefix("https://").rpartition(":")
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=coordinator, server_hostname=f"far.{ZONE}"
        )
        writer.close()
        return ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"])

    before = await served_until()
    pki.give(tmp_path / "far", "far", FakeClock(SystemClock().now() - 86400))
    assert far.identity.refresh()
    _, told = await ask(far, coordinator, "GET", "/configz")
    assert told["ends"] == await served_until() < before - 80_000


async def test_a_gateway_looks_at_nothing_beforehand(
    far: Honest, coordinator: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {
        "name": "www.example.com",
        "account_url": ACCOUNT,
        "methods": ["dns-01"],
        "token": TOKEN,
        "thumbprints": [THUMBPRINT],
    }
    monkeypatch.setattr(far.doors, "_scout", None)
    status, body = await ask(far, coordinator, "POST", "/preflight", asked)
    assert (status, body["errors"][0]["error_type"]) == (422, "preflight.gateway")
    assert far.resolver.asked == []


async def test_a_stock_coordinator_is_told_no_facts(far: Honest, coordinator: ssl.SSLContext) -> None:
    status, body = await ask(far, coordinator, "POST", "/dcv", stock(key_authorization_hash=DIGEST))
    assert status == 200
    assert "facts" not in body
