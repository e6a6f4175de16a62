"""The gateway in front of a stock Open MPIC service that is honest, or lies, or does not finish."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from core.clock import FakeClock
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, verify
from core.settings import Ca, Mpic, Rules, Settings, Validation
from tests.support.elsewhere import ACCOUNT, DIGEST, OURS, THUMBPRINT, TOKEN
from tests.support.fake_dns import TableResolver
from validation.api import CheckRequest
from validation.perspective import make_checker

KEY = ec.generate_private_key(ec.SECP256R1())

pytestmark = pytest.mark.timeout(30)


class Stock:
    """The service; `dcv` and `caa` are its replies, `asked` what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, dict] = {}
        self.url = ""
        self.dcv: Any = {
            "check_completed": True,
            "check_passed": True,
            "errors": None,
            "timestamp_ns": 1,
            "check_type": "dcv",
            "details": {"validation_method": "acme-dns-01", "records_seen": [DIGEST], "response_code": 0},
        }
        self.caa: Any = {
            "check_completed": True,
            "check_passed": True,
            "errors": None,
            "timestamp_ns": 1,
            "check_type": "caa",
            "details": {"caa_record_present": False, "found_at": None, "records_seen": None},
        }

    def sees(self, *records: str, found_at: str = "example.com") -> None:
        self.caa["details"] = {
            "caa_record_present": True,
            "found_at": found_at,
            "records_seen": list(records),
        }

    async def answer(self, request: web.Request) -> web.Response:
        kind = request.path.removeprefix("/")
        self.asked[kind] = await request.json()
        return web.json_response(getattr(self, kind))


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    made = Stock()
    application = web.Application()
    application.add_routes([web.post("/dcv", made.answer), web.post("/caa", made.answer)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def through(
    stock: Stock, method: str = "dns-01", name: str = "www.example.com"
) -> tuple[ControlSeen, CaaSeen]:
    methods = ("http-01", "dns-01", "tls-alpn-01")
    settings = Settings(
        ca=Ca(rules=Rules.PRIVATE, caa_identities=(OURS,)),
        validation=Validation(methods=methods),
        mpic=Mpic(gateway=stock.url),
    )
    resolver = TableResolver()
    checker = make_checker(settings, "far", PerspectiveKey(KEY), resolver, FakeClock(1_800_000_000))
    request = CheckRequest(name, ACCOUNT, "attempt", method, "", TOKEN, THUMBPRINT)
    statement = verify((await checker.check(request)).signed, KEY.public_key())
    await checker.close()
    assert resolver.asked == []
    assert statement.control is not None
    assert statement.caa is not None
    return statement.control, statement.caa


@pytest.mark.row("mpic.open-mpic")
@pytest.mark.clause("BR 3.2.2.9")
async def test_what_the_service_saw_is_signed_by_the_gateways_own_key(stock: Stock) -> None:
    control, caa = await through(stock)
    assert (control.result, control.method, control.thumbprint) == (Result.PASS, "dns-01", THUMBPRINT)
    assert (caa.result, caa.method, caa.records) == (Result.PASS, "dns-01", ())
    assert DIGEST in control.trace[0]
    assert stock.asked["dcv"]["domain_or_ip_target"] == "www.example.com"
    assert stock.asked["dcv"]["dcv_check_parameters"]["key_authorization_hash"] == DIGEST
    assert stock.asked["caa"]["caa_check_parameters"]["caa_domains"] == [OURS]
    assert stock.asked["caa"]["caa_check_parameters"]["allow_lookup_failure"] is False


async def test_the_service_is_not_told_what_is_attested(stock: Stock) -> None:
    await through(stock)
    assert stock.asked["dcv"]["attest"] is None


async def test_a_wildcard_is_asked_for_as_such_in_caa_alone(stock: Stock) -> None:
    await through(stock, name="*.example.com")
    assert stock.asked["dcv"]["domain_or_ip_target"] == "example.com"
    assert stock.asked["caa"]["domain_or_ip_target"] == "*.example.com"


async def test_what_the_service_did_not_see_is_a_failure_with_its_words(stock: Stock) -> None:
    errors = [{"error_type": "x", "error_message": "No\x1b matching record"}]
    stock.dcv |= {"check_passed": False, "errors": errors}
    control, _ = await through(stock)
    assert (control.result, control.problem) == (Result.FAIL, "unauthorized")
    assert "No\\x1b matching record" in control.detail


@pytest.mark.row("mpic.coordinator")
@pytest.mark.parametrize(
    "change",
    [{"check_completed": False}, {"check_type": "caa"}, {"check_passed": "yes"}, {"check_type": None}],
)
async def test_a_control_check_that_is_not_whole_is_no_verdict(stock: Stock, change: dict) -> None:
    stock.dcv |= change
    control, _ = await through(stock)
    assert (control.result, control.problem) == (Result.INDETERMINATE, "serverInternal")


@pytest.mark.row("mpic.coordinator")
@pytest.mark.parametrize(
    "change",
    [
        {"check_completed": False},
        {"check_type": "dcv"},
        {"details": {"found_at": "example.com"}},
        {"details": {"records_seen": ['0 issue "ca.example"']}},
        {"details": {"found_at": "elsewhere.example", "records_seen": ['0 issue "ca.example"']}},
    ],
)
async def test_a_caa_check_that_is_not_whole_is_no_verdict(stock: Stock, change: dict) -> None:
    stock.caa |= change
    _, caa = await through(stock)
    assert (caa.result, caa.problem) == (Result.INDETERMINATE, "serverInternal")


@pytest.mark.row("mpic.reevaluation")
@pytest.mark.clause("RFC 8657 section 3")
@pytest.mark.parametrize(
    ("record", "result"),
    [
        ('0 issue "ca.example"', Result.PASS),
        (f'0 issue "ca.example; accounturi={ACCOUNT}"', Result.PASS),
        ('0 issue "ca.example; accounturi=https://ca.example/acme/account/2"', Result.FAIL),
        ('0 issue "ca.example; validationmethods=http-01"', Result.FAIL),
        ('0 issue "other.example"', Result.FAIL),
        ('128 unheardof "x"', Result.FAIL),
        ("not a record", Result.FAIL),
    ],
)
async def test_records_that_the_service_took_for_permission_are_judged_again(
    stock: Stock, record: str, result: Result
) -> None:
    stock.sees(record)
    _, caa = await through(stock)
    assert caa.result == result
    assert caa.found_at == "example.com"


@pytest.mark.row("mpic.reevaluation")
async def test_a_pass_needs_the_service_too(stock: Stock) -> None:
    stock.sees('0 issue "ca.example"')
    stock.caa |= {"check_passed": False}
    _, caa = await through(stock)
    assert (caa.result, caa.problem) == (Result.FAIL, "caa")


async def test_a_service_that_is_away_is_no_verdict(stock: Stock) -> None:
    stock.url = "http://127.0.0.1:1"
    control, caa = await through(stock)
    assert (control.result, caa.result) == (Result.INDETERMINATE, Result.INDETERMINATE)


def test_what_is_sent_is_json_that_a_pydantic_peer_can_read() -> None:
    from validation.mpic import open_mpic, translation

    sent = json.loads(
        open_mpic.encode(
            translation.asked(
                CheckRequest("a.example", ACCOUNT, "a", "tls-alpn-01", "", TOKEN, THUMBPRINT), [OURS]
            )
        )
    )
    assert sent["dcv_check_parameters"]["require_exact_case"] is False
