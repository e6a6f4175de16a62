"""dns-01: by table, and through the world's resolver."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from core.randomness import SystemRandomness
from tests.support.fake_dns import TableResolver, failure
from tests.world.world import World
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Tools
from validation.dns.dns_message import joined
from validation.dns.resolver import Answer, Resolver, StubResolver, Type, Upstream
from validation.hosts.dialer import GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import dns01, txt
from validation.verdict import CheckFailed, Trace

CHALLENGE = Challenge.of(
    "www.example",
    True,
    "https://ca.example/a/1",
    "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA",
    "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
)
DIGEST = txt.text_of(CHALLENGE.digest).decode()
NAME = "_acme-challenge.www.example"

pytestmark = pytest.mark.timeout(30)


async def check(resolver: Resolver, name: str = "www.example") -> Trace:
    tools = Tools(resolver, GuardedDialer(), AddressPolicy(), Ports(), lambda host: host)
    trace = Trace()
    await dns01.check(replace(CHALLENGE, name=name), tools, trace)
    return trace


async def refused(records) -> tuple[str, str]:
    with pytest.raises(CheckFailed) as raised:
        await check(TableResolver({f"{NAME} TXT": records}))
    assert raised.value.detail.isprintable()
    return raised.value.problem, raised.value.detail


def test_the_digest_is_unpadded_base64url_of_sha256() -> None:
    assert txt.text_of(hashlib.sha256(b"").digest()) == b"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.mark.row("methods.dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
@pytest.mark.must("rfc8555.8.4.digest")
@pytest.mark.parametrize("records", [[DIGEST], ["other", DIGEST], ["v=spf1 -all", "", DIGEST, b"\xff"]])
async def test_one_matching_record_among_any_passes(records) -> None:
    trace = await check(TableResolver({f"{NAME} TXT": records}))
    assert trace.lines()[0].startswith(f"dns {NAME} TXT")


@pytest.mark.row("errors.dns")
@pytest.mark.row("errors.txt-unauthorized")
@pytest.mark.row("methods.dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
@pytest.mark.must("rfc8555.8.4.digest")
@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (None, "dns"),
        (failure(NAME, Type.TXT), "dns"),
        ([], "unauthorized"),
        ([""], "unauthorized"),
        ([DIGEST + "="], "unauthorized"),
        ([DIGEST.swapcase()], "unauthorized"),
        ([f'"{DIGEST}"'], "unauthorized"),
        ([DIGEST + "\n"], "unauthorized"),
        ([CHALLENGE.key_authorization], "unauthorized"),
        ([b"\xff\x00\x1b"], "unauthorized"),
        (["x" * 5000], "unauthorized"),
    ],
)
async def test_anything_else_is_refused(records, problem: str) -> None:
    assert (await refused(records))[0] == problem


@pytest.mark.row("methods.dns-01")
def test_the_strings_of_a_record_are_joined() -> None:
    assert joined(b"\x03abc\x00\x02de") == b"abcde"


@pytest.mark.row("attacks.dangling-cname")
@pytest.mark.row("methods.dns-01")
async def test_a_record_is_found_through_an_alias_in_a_signed_zone(world: World) -> None:
    world.set_records("_acme-challenge.delegated.example.com", "CNAME", ["responder.example.com."])
    world.set_txt("responder.example.com", "other", DIGEST)
    resolver = StubResolver([Upstream.parse(world.resolver)], SystemRandomness())
    trace = await check(resolver, "delegated.example.com")
    assert "CNAME responder.example.com: 2 records AD=1" in trace.lines()[0]


@pytest.mark.row("limits.dns")
async def test_a_zone_that_keeps_us_waiting_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert txt.CHECK_SECONDS == 8
    monkeypatch.setattr(txt, "CHECK_SECONDS", 0.05)

    class Silent:
        async def lookup(self, name: str, type: Type) -> Answer:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    with pytest.raises(CheckFailed) as raised:
        await check(Silent())
    assert raised.value.problem == "dns"


@pytest.mark.row("attacks.log-injection")
async def test_what_a_record_says_is_escaped_and_capped_wherever_it_is_written() -> None:
    hostile = b"\x1b[2J\r\nMay 1 00:00:00 ca acme-server: granted" + b"z" * 3000
    _, detail = await refused([hostile])
    assert "\\x1b[2J\\x0d\\x0a" in detail
    assert len(detail) <= 400


@pytest.mark.must("rfc8555.8.1.key-authorization")
@pytest.mark.row("attacks.token-confusion")
async def test_the_record_of_another_accounts_challenge_does_not_count() -> None:
    theirs = Challenge.of("www.example", True, "https://ca.example/a/2", CHALLENGE.token, "x" * 43)
    assert (await refused([txt.text_of(theirs.digest)]))[0] == "unauthorized"
