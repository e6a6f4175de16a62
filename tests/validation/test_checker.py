"""One perspective's work: a signed statement for everything it saw."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core import account_hash
from core.clock import FakeClock
from core.errors import ConfigurationError, Refused, TransientError
from core.evidence import PerspectiveKey, Result, Statement, verify
from core.randomness import SystemRandomness
from core.settings import Ca, Deployment, Rules, Settings, Validation
from tests.support import web
from tests.support.fake_dns import TableResolver, caa, failure
from tests.support.web import WebServer
from validation.api import CheckRequest
from validation.caa import Issuance
from validation.challenge import Challenge
from validation.checker import Checker
from validation.dns.canary import LINE_WELL_SECONDS, Canary
from validation.dns.resolver import Answer, Fault, LookupFailure, Type
from validation.methods import txt
from validation.perspective import make_checker

KEY = ec.generate_private_key(ec.SECP256R1())
ACCOUNT = "https://ca.example/acme/account/1"
TOKEN = "evaGxfADs6pSRb2LAv9IZf"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
KEY_AUTHORIZATION = f"{TOKEN}.{THUMBPRINT}"
DIGEST = txt.text_of(hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()).decode()
REQUEST = CheckRequest("www.example.com", ACCOUNT, "attempt", "dns-01", "", TOKEN, THUMBPRINT)
TXT = "_acme-challenge.www.example.com TXT"

pytestmark = pytest.mark.timeout(30)


def settings(rules: Rules = Rules.PRIVATE, **validation) -> Settings:
    return Settings(ca=Ca(rules=rules), validation=Validation(**validation))


async def check(
    table: dict, request: CheckRequest = REQUEST, configured: Settings | None = None
) -> Statement:
    checker = make_checker(
        configured or settings(), "local", PerspectiveKey(KEY), TableResolver(table), FakeClock(1_800_000_000)
    )
    return verify((await checker.check(request)).signed, KEY.public_key())


@pytest.mark.row("methods.common")
@pytest.mark.clause("BR 5.4.1")
async def test_a_pass_says_what_was_asked_seen_and_when() -> None:
    statement = await check({TXT: [DIGEST], "example.com CAA": [caa(0, "issue", "ca.example")]})
    assert (statement.perspective, statement.name, statement.account_url, statement.attempt) == (
        "local",
        "www.example.com",
        ACCOUNT,
        "attempt",
    )
    assert statement.checked_at == 1_800_000_000
    assert statement.control is not None
    assert (statement.control.method, statement.control.adn) == ("dns-01", "www.example.com")
    assert statement.control.result == Result.PASS
    assert statement.control.trace == ("dns _acme-challenge.www.example.com TXT: 1 records AD=1 from table",)
    assert statement.caa is not None
    assert (statement.caa.result, statement.caa.found_at) == (Result.PASS, "example.com")
    assert statement.caa.method == "dns-01"


@pytest.mark.row("errors.caa")
async def test_a_failure_is_signed_like_a_pass_and_caa_beside_it() -> None:
    statement = await check({TXT: ["wrong"], "com CAA": [caa(0, "issue", ";")]})
    assert statement.control is not None
    assert statement.caa is not None
    assert (statement.control.result, statement.control.problem) == (Result.FAIL, "unauthorized")
    assert (statement.caa.result, statement.caa.problem) == (Result.FAIL, "caa")


async def test_a_fault_of_ours_is_indeterminate_in_both() -> None:
    away = TransientError("no DNS resolver answers")
    statement = await check({TXT: away, "www.example.com CAA": away})
    assert statement.control is not None
    assert statement.caa is not None
    assert (statement.control.result, statement.control.problem) == (Result.INDETERMINATE, "serverInternal")
    assert (statement.caa.result, statement.caa.problem) == (Result.INDETERMINATE, "serverInternal")


@pytest.mark.row("errors.server-internal")
async def test_a_bug_is_indeterminate_and_its_text_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    statement = await check({TXT: RuntimeError("secret path")})
    assert statement.control is not None
    assert statement.control.result == Result.INDETERMINATE
    assert "secret" not in statement.control.detail
    assert "secret path" in caplog.text


class Line(TableResolver):
    """Beside its table, a name below the canary's that is never the same: answered while the line is well."""

    cut = False
    asked_of_line = 0

    async def lookup(self, name: str, type: Type) -> Answer:
        if name.endswith(".signed.example"):
            self.asked_of_line += 1
            self.table[f"{name} {type}"] = failure(name, type) if self.cut else None
        return await super().lookup(name, type)


async def watched(line: Line, *, cut: bool) -> Checker:
    """A checker whose canary saw green before the line was `cut`."""
    bogus = LookupFailure("bogus.example", Type.A, "SERVFAIL", Fault.BOGUS)
    line.table |= {"bogus.example A": bogus, "signed.example A": ["192.0.2.1"]}
    clock = FakeClock(1_800_000_000)
    bird = Canary(line, "bogus.example", "signed.example", clock, SystemRandomness())
    await bird.look()
    bird.require_green()
    clock.at += int(LINE_WELL_SECONDS)
    line.cut, line.asked_of_line = cut, 0
    return make_checker(settings(http_port=1), "local", PerspectiveKey(KEY), line, clock, bird)


@pytest.mark.row("errors.server-internal")
@pytest.mark.parametrize(("method", "problem"), [("dns-01", "dns"), ("http-01", "connection")])
async def test_silence_is_the_applicants_fault_only_while_our_own_line_is_well(
    method: str, problem: str
) -> None:
    name = "www.example.com" if method == "dns-01" else "www.localhost"
    request = dataclasses.replace(REQUEST, name=name, method=method)
    for cut in (False, True):
        line = Line({TXT: failure(), "example.com CAA": failure()})
        seen = (await (await watched(line, cut=cut)).check(request)).signed.statement()
        assert seen.control is not None
        assert seen.caa is not None
        verdicts = [seen.control, seen.caa] if method == "dns-01" else [seen.control]
        for verdict in verdicts:
            told = (verdict.result, verdict.problem)
            if cut:
                assert told == (Result.INDETERMINATE, "serverInternal")
                assert "line to the Internet is cut" in verdict.detail
            else:
                assert told == (Result.FAIL, problem)
        # Bad news is shared by those who wait for it together, good news for some seconds.
        assert line.asked_of_line == 1 or cut


@pytest.mark.row("errors.server-internal")
async def test_what_the_applicants_hosts_said_needs_no_line() -> None:
    line = Line({TXT: ["wrong"], "com CAA": [caa(0, "issue", ";")]})
    seen = (await (await watched(line, cut=True)).check(REQUEST)).signed.statement()
    assert seen.control is not None
    assert seen.caa is not None
    assert (seen.control.result, seen.control.problem) == (Result.FAIL, "unauthorized")
    assert (seen.caa.result, seen.caa.problem) == (Result.FAIL, "caa")
    assert line.asked_of_line == 0


@pytest.mark.row("errors.server-internal")
async def test_a_stock_coordinator_is_told_of_no_failure_either_while_our_line_is_cut() -> None:
    checker = await watched(Line({TXT: failure(), "example.com CAA": failure()}), cut=True)
    challenge = Challenge.of("www.example.com", False, ACCOUNT, TOKEN, THUMBPRINT)
    control = await checker.unsigned_control("dns-01", challenge)
    issuance = Issuance(False, frozenset({"ca.example"}), ACCOUNT, "dns-01")
    seen = await checker.unsigned_caa("www.example.com", issuance)
    assert {control.result, seen.result} == {Result.INDETERMINATE}


@pytest.mark.row("methods.wildcard")
@pytest.mark.clause("RFC 8659 section 3")
async def test_a_wildcard_is_checked_at_its_base_and_recorded_with_its_star() -> None:
    request = dataclasses.replace(REQUEST, name="*.example.com")
    table = {
        "_acme-challenge.example.com TXT": [DIGEST],
        "example.com CAA": [caa(0, "issue", ";"), caa(0, "issuewild", "ca.example")],
    }
    statement = await check(table, request)
    assert statement.name == "*.example.com"
    assert statement.control is not None
    assert statement.caa is not None
    assert (statement.control.result, statement.control.adn) == (Result.PASS, "example.com")
    assert statement.caa.result == Result.PASS


@pytest.mark.row("errors.method-for-type")
@pytest.mark.row("methods.wildcard")
@pytest.mark.clause("BR 3.2.2.4.19")
async def test_http01_never_validates_a_wildcard_and_connects_nowhere() -> None:
    async with WebServer(web.response(KEY_AUTHORIZATION.encode())) as server:
        request = dataclasses.replace(REQUEST, name="*.localhost", method="http-01")
        statement = await check({}, request, settings(http_port=server.port))
    assert statement.control is not None
    assert (statement.control.result, statement.control.problem) == (Result.FAIL, "malformed")
    assert server.connections == 0


async def test_a_recheck_looks_at_caa_alone_bound_to_the_earlier_method() -> None:
    record = caa(0, "issue", "ca.example; validationmethods=http-01")
    table = {"www.example.com CAA": [record], TXT: failure()}
    for method, result in (("http-01", Result.PASS), ("dns-01", Result.FAIL)):
        request = CheckRequest("www.example.com", ACCOUNT, "attempt", "", method)
        statement = await check(table, request)
        assert statement.control is None
        assert statement.caa is not None
        assert (statement.caa.result, statement.caa.method) == (result, method)


async def test_a_local_name_is_exempt_from_caa_under_private_rules_and_says_so() -> None:
    async with WebServer(web.response(KEY_AUTHORIZATION.encode())) as server:
        request = dataclasses.replace(REQUEST, name="a.localhost", method="http-01")
        statement = await check(
            {"localhost CAA": [caa(0, "issue", ";")]}, request, settings(http_port=server.port)
        )
    assert statement.control is not None
    assert statement.caa is not None
    assert (statement.control.result, statement.caa.result) == (Result.PASS, Result.PASS)
    assert statement.caa.exempt == "local name"


async def test_public_rules_know_no_local_names() -> None:
    async with WebServer(web.response(KEY_AUTHORIZATION.encode())) as server:
        request = dataclasses.replace(REQUEST, name="a.localhost", method="http-01")
        with pytest.raises(Refused, match="reserved"):
            await check(
                {"a.localhost A": ["127.0.0.1"]}, request, settings(Rules.PUBLIC, http_port=server.port)
            )
    assert server.connections == 0


@pytest.mark.clause("RFC 8555 section 8.1")
@pytest.mark.parametrize(
    "change",
    [
        {"method": "dns-persist-01"},
        {"method": "email-reply-00"},
        {"method": ""},
        {"account_url": ""},
        {"attempt": ""},
        {"attempt": "x\n2026-11-30 INFO a line of the caller's"},
        {"attempt": "x" * 65},
        {"name": ""},
        {"name": "WWW.example.com"},
        {"name": "www.example.com."},
        {"name": "www_1.example.com"},
        {"name": "*.*.example.com"},
        {"name": "127.0.0.1"},
        {"name": "10.0.0.1", "method": "http-01"},
        {"name": "64:ff9b::a00:1", "method": "http-01"},
        {"name": "2620:FE::9", "method": "http-01"},
        {"name": "[2620:fe::9]", "method": "http-01"},
        {"name": "9.9.9.09", "method": "http-01"},
        {"name": "intranet"},
        {"token": "", "thumbprint": "Not Found"},
        {"token": TOKEN[1:]},
        {"token": "../../../../../index.html"},
        {"thumbprint": "Not Found"},
        {"thumbprint": ""},
        {"thumbprint": THUMBPRINT + "x"},
        {"thumbprint": THUMBPRINT + "\n"},
        {"thumbprint": "x." + THUMBPRINT},
    ],
)
async def test_what_an_honest_front_never_asks_is_refused_unsigned(change: dict) -> None:
    with pytest.raises(Refused):
        await check({}, dataclasses.replace(REQUEST, **change))


async def test_a_method_that_is_switched_off_is_refused_but_its_recheck_is_not() -> None:
    only = settings(methods=("http-01",))
    with pytest.raises(Refused):
        await check({}, REQUEST, only)
    assert (await check({}, CheckRequest("a.example.com", ACCOUNT, "x", "", "dns-01"), only)).caa is not None


@pytest.mark.row("methods.ip")
@pytest.mark.clause("RFC 8738 section 4; BR 3.2.2.8")
@pytest.mark.must("rfc8738.4.no-resolution", "rfc8738.5.host", "rfc8738.5.host-text")
async def test_an_address_is_looked_at_where_it_is_and_has_no_caa() -> None:
    for address, host in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        async with WebServer(web.response(KEY_AUTHORIZATION.encode()), address) as server:
            open_here = settings(http_port=server.port, allowed_networks=("127.0.0.1/32", "::1/128"))
            request = dataclasses.replace(REQUEST, name=address, method="http-01")
            statement = await check({"1 CAA": [caa(0, "issue", ";")]}, request, open_here)
        assert f"Host: {host}\r\n" in server.requests[0]
        assert statement.control is not None
        assert statement.caa is not None
        assert (statement.control.result, statement.control.adn) == (Result.PASS, address)
        assert (statement.caa.result, statement.caa.exempt) == (Result.PASS, "IP address")


@pytest.mark.row("methods.ip")
async def test_a_page_at_an_address_may_redirect_to_public_places_alone() -> None:
    async with WebServer(web.redirect("http://10.0.0.1/x")) as server:
        open_here = settings(http_port=server.port, allowed_networks=("127.0.0.1/32",))
        request = dataclasses.replace(REQUEST, name="127.0.0.1", method="http-01")
        seen = (await check({}, request, open_here)).control
    assert seen is not None
    assert (seen.result, seen.problem) == (Result.FAIL, "connection")


@pytest.mark.must("rfc8738.7.no-dns")
@pytest.mark.row("errors.method-for-type")
@pytest.mark.row("methods.ip")
@pytest.mark.parametrize("method", ["dns-01", "dns-account-01"])
async def test_a_dns_method_says_nothing_about_an_address(method: str) -> None:
    seen = (await check({}, dataclasses.replace(REQUEST, name="9.9.9.9", method=method))).control
    assert seen is not None
    assert (seen.result, seen.problem) == (Result.FAIL, "malformed")


@pytest.mark.row("methods.wildcard")
@pytest.mark.row("errors.method-for-type")
async def test_tls_alpn_01_never_validates_a_wildcard() -> None:
    request = dataclasses.replace(REQUEST, name="*.example.com", method="tls-alpn-01")
    seen = (await check({}, request)).control
    assert seen is not None
    assert (seen.result, seen.problem) == (Result.FAIL, "malformed")


PERSIST = settings(methods=("dns-01", "dns-persist-01"))
PERSISTENT = dataclasses.replace(REQUEST, method="dns-persist-01", token="")


@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.row("methods.dns-persist-01")
async def test_a_record_that_stays_is_attested_with_its_ttl_and_the_key_that_asked() -> None:
    uri = account_hash.uris("www.example.com", THUMBPRINT, ACCOUNT)[0]
    table = {"_validation-persist.www.example.com TXT": [f"ca.example; accounturi={uri}"]}
    seen = (await check(table, PERSISTENT, PERSIST)).control
    assert seen is not None
    assert (seen.result, seen.adn, seen.ttl, seen.thumbprint) == (
        Result.PASS,
        "www.example.com",
        60,
        THUMBPRINT,
    )
    assert seen.account_hash == uri
    older = account_hash.uris("*", "o" * 43, ACCOUNT)[0]
    table = {"_validation-persist.www.example.com TXT": [f"ca.example; accounturi={older}"]}
    rotated = (await check(table, dataclasses.replace(PERSISTENT, older=("o" * 43,)), PERSIST)).control
    assert rotated is not None
    assert (rotated.result, rotated.thumbprint, rotated.account_hash) == (Result.PASS, "o" * 43, older)
    expired = f"ca.example; accounturi={uri}; persistUntil=1"
    late = (await check({"_validation-persist.www.example.com TXT": [expired]}, PERSISTENT, PERSIST)).control
    assert late is not None
    assert (late.result, late.problem, late.ttl) == (Result.FAIL, "unauthorized", 0)


@pytest.mark.clause("RFC 8555 section 8.1")
async def test_a_method_without_key_authorization_has_no_token_and_is_off_unless_listed() -> None:
    for request, configured in (
        (dataclasses.replace(PERSISTENT, token=TOKEN), PERSIST),
        (dataclasses.replace(PERSISTENT, thumbprint=""), PERSIST),
        (dataclasses.replace(PERSISTENT, older=("o" * 42,)), PERSIST),
        (dataclasses.replace(PERSISTENT, older=("o" * 43,) * 21), PERSIST),
        (dataclasses.replace(REQUEST, older=("o" * 43,)), PERSIST),
        (dataclasses.replace(REQUEST, token=""), PERSIST),
        (PERSISTENT, settings()),
    ):
        with pytest.raises(Refused):
            await check({}, request, configured)


@pytest.mark.parametrize(
    ("configured", "key"),
    [
        (settings(methods=("http-1",)), "methods"),
        (settings(allowed_networks=("10.0.0.1/8",)), "allowed_networks"),
        (
            Settings(
                ca=Ca(rules=Rules.PUBLIC),
                deployment=Deployment(production=True),
                validation=Validation(allowed_networks=("10.0.0.0/8",)),
            ),
            "allowed_networks",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_named(configured: Settings, key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"validation\.{key}"):
        make_checker(configured, "local", PerspectiveKey(KEY), TableResolver(), FakeClock(1))


@pytest.mark.row("methods.common")
@pytest.mark.clause("BR 3.2.2.9")
def test_a_perspective_is_told_nothing_that_another_one_found_out() -> None:
    told = {field.name for field in dataclasses.fields(CheckRequest)}
    assert told == {"name", "account_url", "attempt", "method", "caa_method", "token", "thumbprint", "older"}


@pytest.mark.row("methods.common")
@pytest.mark.parametrize(("method", "secret"), [("dns-01", DIGEST), ("http-01", KEY_AUTHORIZATION)])
async def test_what_is_expected_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, method: str, secret: str
) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    async with WebServer(web.response(KEY_AUTHORIZATION.encode())) as server:
        table = {TXT: [DIGEST], "www.example.com A": ["127.0.0.1"]}
        near = settings(http_port=server.port, allowed_networks=("127.0.0.1/32",))
        statement = await check(table, dataclasses.replace(REQUEST, method=method), near)
    assert statement.control is not None
    assert statement.control.result is Result.PASS
    assert compared == [secret.encode()]


@pytest.mark.row("attacks.log-injection")
@pytest.mark.parametrize(
    "octets", [b"\x1b[2J\r\nadmin: all is well", b"\xff\xfe\x00", "\u202e\u2028".encode()]
)
async def test_control_characters_of_a_zone_reach_neither_the_statement_nor_the_log(
    octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for table in (
        {TXT: [octets * 20], "example.com CAA": [caa(0, "issue", octets * 20)]},
        {TXT: [DIGEST], "example.com CAA": [caa(128, "a" * 200, octets), caa(0, "iodef", octets)]},
        {TXT: [octets] * 200, "example.com CAA": [caa(0, "issuemail", octets)] * 20},
    ):
        statement = await check(table)
        assert statement.control is not None
        assert statement.caa is not None
        words = [statement.control.detail, *statement.control.trace, statement.caa.detail]
        for written in (*words, *statement.caa.trace, *statement.caa.records, *caplog.messages):
            assert written.isascii()
            assert written.isprintable()
        assert all(len(written) <= 400 for written in words)
