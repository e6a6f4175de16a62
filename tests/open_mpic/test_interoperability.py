"""open-mpic-core as it comes: its coordinator asks our perspectives, its checkers look for our gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.data_directory import DataDirectory
from core.evidence import Result, verify
from tests.open_mpic import environment
from tests.support import tls, web
from tests.support.elsewhere import (
    ACCOUNT,
    DIGEST,
    OURS,
    THUMBPRINT,
    TOKEN,
    ZONE,
    Pki,
    coordinator_settings,
)
from tests.support.remote_host import RemoteHost
from tests.support.tls import TlsServer
from tests.support.web import WebServer
from tests.world.world import World
from validation.api import CheckRequest
from validation.mpic import open_mpic, translation
from validation.mpic.channel import channels
from validation.mpic.mutual_tls import IDENTITY, ROOT
from validation.mpic.mutual_tls import PASSPHRASE as PASSPHRASE_FILE

NAME = "interoperability.example.com"
KEY_AUTHORIZATION = f"{TOKEN}.{THUMBPRINT}"
METHODS = ("http-01", "dns-01", "tls-alpn-01")
REGIONS = {"far-a": "APNIC", "far-b": "ARIN", "far-c": "RIPE NCC"}
START_SECONDS, ANSWER_SECONDS = 30, 60

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Applicant:
    """What shows control of NAME: a web server, a TLS server, and records in the world."""

    http: WebServer
    tls: TlsServer


@asynccontextmanager
async def applicant(world: World) -> AsyncIterator[Applicant]:
    digest = translation.challenge(open_mpic.DcvRequest(NAME, open_mpic.AcmeDns01(DIGEST)), [OURS])[1].digest
    shown = tls.certificate(tls.names(NAME), (tls.acme_identifier(digest), True))
    async with (
        WebServer(web.response(KEY_AUTHORIZATION.encode())) as http,
        TlsServer(tls.context(tls.der(shown))) as secure,
    ):
        world.set_records(NAME, "A", ["127.0.0.1"])
        world.set_txt(f"_acme-challenge.{NAME}", DIGEST)
        yield Applicant(http, secure)


@pytest.fixture(scope="module")
def python() -> Path:
    return environment.python()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("channel") / "root")


@pytest.fixture(scope="module")
def data(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    made = DataDirectory(tmp_path_factory.mktemp("ca"))
    pki.coordinator(made)
    return made


def validation(world: World, applicant: Applicant) -> dict[str, Any]:
    return {
        "resolvers": [world.resolver],
        "http_port": applicant.http.port,
        "tls_alpn_port": applicant.tls.port,
        "allowed_networks": ["127.0.0.0/8"],
        "methods": list(METHODS),
    }


def dcv(method: str, **parameters: object) -> dict[str, Any]:
    return {
        "check_type": "dcv",
        "domain_or_ip_target": NAME,
        "trace_identifier": f"the stock {method}",
        "dcv_check_parameters": {"validation_method": method, **parameters},
    }


def caa(name: str, *domains: str) -> dict[str, Any]:
    return {
        "check_type": "caa",
        "domain_or_ip_target": name,
        "caa_check_parameters": {"caa_domains": list(domains), "certificate_type": "tls-server"},
    }


@pytest.mark.row("mpic.open-mpic")
@pytest.mark.clause("BR 3.2.2.9")
async def test_a_stock_coordinator_uses_our_perspectives(
    world: World, python: Path, pki: Pki, data: DataDirectory, tmp_path: Path
) -> None:
    async with applicant(world) as shown:
        hosts = [
            RemoteHost(tmp_path / code, pki, code, region, validation(world, shown))
            for code, region in REGIONS.items()
        ]
        digest = translation.challenge(open_mpic.DcvRequest(NAME, open_mpic.AcmeDns01(DIGEST)), [OURS])[
            1
        ].digest
        requests = [
            dcv("acme-http-01", token=TOKEN, key_authorization=KEY_AUTHORIZATION),
            dcv("acme-dns-01", key_authorization_hash=DIGEST),
            dcv("acme-tls-alpn-01", key_authorization_hash=digest.hex()),
            caa(NAME, OURS),
            caa("caa-deny.example.com", OURS),
            dcv("acme-http-01", token=TOKEN, key_authorization="another"),
            dcv("dns-change", dns_record_type="TXT", challenge_value="x"),
        ]
        config = {
            "root": str(data.mpic / ROOT),
            "identity": str(data.mpic / IDENTITY),
            "passphrase": (data.mpic / PASSPHRASE_FILE).read_text(),
            "perspectives": [
                {
                    "code": host.code,
                    "region": host.region,
                    "name": f"{host.code}.{ZONE}",
                    "url": host.perspective.url,
                }
                for host in hosts
            ],
            "requests": requests,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        try:
            await asyncio.gather(*(asyncio.to_thread(host.start) for host in hosts))
            process = await asyncio.create_subprocess_exec(
                python,
                environment.PEER,
                "coordinate",
                tmp_path / "config.json",
                stdout=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(ANSWER_SECONDS):
                said, _ = await process.communicate()
        finally:
            for host in hosts:
                host.stop()
    answers = json.loads(said)
    assert [answer["is_valid"] for answer in answers] == [True, True, True, True, False, False, False]
    for answer in answers[:4]:
        assert {each["perspective_code"] for each in answer["perspectives"]} == set(REGIONS)
        assert all(each["check_response"]["check_completed"] for each in answer["perspectives"])
    denied = answers[4]["perspectives"][0]["check_response"]
    assert (denied["check_completed"], denied["check_passed"]) == (True, False)
    assert denied["details"]["found_at"] == "caa-deny.example.com"


@asynccontextmanager
async def stock_service(
    python: Path, world: World, applicant: Applicant, directory: Path
) -> AsyncIterator[str]:
    config = {
        "resolver": world.resolver,
        "http_port": applicant.http.port,
        "tls_port": applicant.tls.port,
    }
    (directory / "config.json").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        python, environment.PEER, "service", directory / "config.json", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.mark.row("mpic.open-mpic", "mpic.wire-http-01", "mpic.wire-dns-01", "mpic.wire-tls-alpn-01")
@pytest.mark.clause("BR 3.2.2.9")
async def test_a_stock_perspective_serves_behind_our_gateway(
    world: World, python: Path, pki: Pki, data: DataDirectory, tmp_path: Path
) -> None:
    async with applicant(world) as shown, stock_service(python, world, shown, tmp_path) as url:
        settings = validation(world, shown)
        with RemoteHost(
            tmp_path / "gateway", pki, "gateway", validation=settings, mpic={"gateway": url}
        ) as host:
            to = channels(data, coordinator_settings(host.perspective), 15)["gateway"]

            async def look(name: str, method: str, thumbprint: str = THUMBPRINT) -> tuple[Result, Result]:
                looked = await to.check(CheckRequest(name, ACCOUNT, "a", method, "", TOKEN, thumbprint))
                statement = verify(looked.signed, host.public_key)
                assert statement.control is not None
                assert statement.caa is not None
                return statement.control.result, statement.caa.result

            for method in METHODS:
                assert await look(NAME, method) == (Result.PASS, Result.PASS), method
                assert await look(NAME, method, "B" * 43) == (Result.FAIL, Result.PASS), method
            recheck = CheckRequest("caa-deny.example.com", ACCOUNT, "a", "", "dns-01")
            denied = verify((await to.check(recheck)).signed, host.public_key).caa
            # The stock checker passes this one: it parses accounturi and does not enforce it.
            world.set_records(
                "gateway-caa.example.com",
                "CAA",
                [f'0 issue "{OURS}; accounturi=https://elsewhere.example/acme/account/1"'],
            )
            foreign = verify(
                (await to.check(CheckRequest("gateway-caa.example.com", ACCOUNT, "a", "", "dns-01"))).signed,
                host.public_key,
            ).caa
            assert (await to.health()).gateway == url
            await to.close()
    assert denied is not None
    assert foreign is not None
    assert (denied.result, denied.problem) == (Result.FAIL, "caa")
    assert (foreign.result, foreign.problem) == (Result.FAIL, "caa")
    assert "accounturi names another account" in foreign.detail
    assert "passed=True" in foreign.trace[0]
