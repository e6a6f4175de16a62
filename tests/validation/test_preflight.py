"""validation/preflight.py: it looks as a check does, with places of its own, and proves nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from core import account_hash, facts
from core.clock import FakeClock
from core.errors import Refused, TransientError
from core.evidence import Result, SignedStatement, Statement
from core.settings import Ca, Mpic, Rules, Settings, Validation
from tests.support import web
from tests.support.fake_dns import TableResolver, caa
from tests.support.tls import TlsServer, certificate, context, der, names
from tests.support.web import WebServer
from validation import preflight
from validation.api import CHECK, PREFLIGHT, CheckRequest, Looked, PreflightRequest, Preview
from validation.dns.resolver import Answer, Fault, LookupFailure, Type
from validation.methods import record_name
from validation.perspective import make_scout
from validation.preflight import Scout

ACCOUNT = "https://ca.example/acme/account/1"
TOKEN = "evaGxfADs6pSRb2LAv9IZf"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
NAME = "www.example.com"
HERE = {f"{NAME} A": ["127.0.0.1"], f"{NAME} AAAA": []}
REQUEST = PreflightRequest(NAME, ACCOUNT, ("http-01", "dns-01"), TOKEN, (THUMBPRINT,))

pytestmark = pytest.mark.timeout(30)


def scout(table: Any = None, rules: Rules = Rules.PRIVATE, **validation: Any) -> Scout:
    settings = Settings(
        ca=Ca(rules=rules), validation=Validation(allowed_networks=("127.0.0.1/32",), **validation)
    )
    resolver = table if isinstance(table, TableResolver) else TableResolver(table)
    made = make_scout(settings, "tokyo", resolver, FakeClock(1_800_000_000))
    assert made is not None
    return made


def results(preview: Preview) -> dict[str, tuple[Result, str]]:
    return {each.method: (each.seen.result, each.seen.problem) for each in preview.prospects}


def test_its_answer_cannot_be_taken_for_evidence() -> None:
    assert (PREFLIGHT.name, PREFLIGHT.result) != (CHECK.name, CHECK.result)
    preview = msgspec.msgpack.encode(Preview("tokyo", (), preflight.caa.CaaSeen(Result.PASS)))
    for shape in (Looked, SignedStatement):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(preview, type=shape)


async def test_a_scout_never_signs() -> None:
    request = CheckRequest(NAME, ACCOUNT, "attempt", "dns-01", "", TOKEN, "B" * 43)
    with pytest.raises(AssertionError, match="signs nothing"):
        await scout().check(request)
    with pytest.raises(AssertionError, match="signs nothing"):
        preflight.Nobody().sign(Statement("a", NAME, ACCOUNT, "b", 0, None, None))


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "404 Not Found", "500 Internal Server Error"])
async def test_any_answer_of_the_host_will_do_and_its_body_is_not_kept(status: str) -> None:
    async with WebServer(web.response(b"MARKER", status)) as server:
        preview = await scout(HERE, http_port=server.port).preview(REQUEST)
    assert results(preview)["http-01"] == (Result.PASS, "")
    read = facts.decode(preview.prospects[0].facts)
    assert read is not None
    assert read.fetches[0].status == int(status[:3])
    assert "MARKER" not in repr(preview)
    assert server.requests[0].startswith(f"GET /.well-known/acme-challenge/{TOKEN} HTTP/1.1")


@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.parametrize("protocols", [["acme-tls/1"], ["h2"], []])
async def test_a_tls_server_will_do_whatever_it_speaks(protocols: list[str]) -> None:
    made = context(der(certificate(names("a.example"))))
    made.set_alpn_protocols(protocols)
    async with TlsServer(made) as server:
        request = replace(REQUEST, methods=("tls-alpn-01",))
        preview = await scout(HERE, tls_alpn_port=server.port).preview(request)
    assert results(preview) == {"tls-alpn-01": (Result.PASS, "")}


async def test_a_zone_that_answers_will_do_and_the_record_that_is_to_come_is_not_asked_for() -> None:
    # Its absence would stay in the resolver's cache, and fail the validation that comes next.
    poisoned = LookupFailure(NAME, Type.TXT, "it was asked for", Fault.BOGUS)
    for entry in (None, (), ["old"]):
        for method in ("dns-01", "dns-account-01"):
            label = record_name(method, NAME, ACCOUNT)
            table = {f"{NAME} TXT": entry, f"{label} TXT": poisoned}
            preview = await scout(table).preview(replace(REQUEST, methods=(method,)))
            assert results(preview) == {method: (Result.PASS, "")}


async def test_a_record_that_stays_is_judged_as_it_is() -> None:
    uri, _ = account_hash.uris(NAME, THUMBPRINT, ACCOUNT)
    table = {f"_validation-persist.{NAME} TXT": [f"ca.example; accounturi={uri}"]}
    made = scout(table, methods=("dns-persist-01",))
    request = replace(REQUEST, methods=("dns-persist-01",))
    assert results(await made.preview(request))["dns-persist-01"][0] is Result.PASS
    older = replace(request, thumbprints=("B" * 43, THUMBPRINT))
    assert results(await made.preview(older))["dns-persist-01"][0] is Result.PASS
    other = replace(request, thumbprints=("B" * 43,))
    assert results(await made.preview(other)) == {"dns-persist-01": (Result.FAIL, "unauthorized")}


async def test_caa_is_climbed_once_and_its_facts_are_there() -> None:
    resolver = TableResolver({"example.com CAA": [caa(0, "issue", ";")]})
    preview = await scout(resolver).preview(replace(REQUEST, methods=("dns-01", "dns-account-01")))
    assert (preview.caa.result, preview.caa.found_at) == (Result.FAIL, "example.com")
    assert resolver.asked.count("example.com CAA") == 1
    read = facts.decode(preview.climb)
    assert read is not None
    assert [each.name for each in read.caa] == [NAME, "example.com", "com"]


@pytest.mark.parametrize(
    "change",
    [
        {"methods": ()},
        {"methods": ("dns-01", "dns-01")},
        {"methods": ("dns-02",)},
        {"methods": ("dns-persist-01",)},
        {"name": "WWW.example.com"},
        {"name": "10.0.0.1"},
        {"name": "169.254.169.254"},
        {"token": "short"},
        {"thumbprints": ()},
        {"thumbprints": ("short",)},
        {"thumbprints": (THUMBPRINT,) * 100},
        {"token": "../../" + TOKEN},
    ],
)
async def test_what_no_honest_caller_asks_is_refused_and_nobody_is_visited(change: dict[str, Any]) -> None:
    resolver = TableResolver(HERE)
    with pytest.raises(Refused):
        await scout(resolver).preview(replace(REQUEST, **change))
    assert resolver.asked == []


class Holding(TableResolver):
    """Answers nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.free, self.waiting = asyncio.Event(), 0

    async def lookup(self, name: str, type: Type) -> Answer:
        self.waiting += type is Type.TXT
        await self.free.wait()
        return await super().lookup(name, type)


async def test_its_places_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PATIENCE", 0.05)
    resolver = Holding()
    made = scout(resolver)
    request = replace(REQUEST, methods=("dns-01",))
    below_one = [
        asyncio.create_task(
            made.preview(replace(request, name=f"n{n}.example.com", account_url=f"https://{n}/"))
        )
        for n in range(preflight.PER_DOMAIN + 1)
    ]
    done, pending = await asyncio.wait(below_one, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    (late,) = done
    with pytest.raises(TransientError, match="busy"):
        late.result()
    assert resolver.waiting == preflight.PER_DOMAIN
    resolver.free.set()
    await asyncio.gather(*pending)


def test_a_gateway_has_no_scout() -> None:
    settings = Settings(mpic=Mpic(gateway="http://127.0.0.1:8000"))
    assert make_scout(settings, "tokyo", TableResolver(), FakeClock(1)) is None
