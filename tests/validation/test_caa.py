"""CAA: the evaluator against its rules, the climb against a table and the world's real zones."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from core.errors import TransientError
from core.evidence import Result
from core.randomness import SystemRandomness
from tests.support.fake_dns import TableResolver, caa, failure
from tests.world.world import World
from validation.caa import CaaForbids, Issuance, check, evaluate
from validation.caa_value import CaaRecord
from validation.dns.resolver import Answer, StubResolver, Type, Upstream
from validation.verdict import Trace

ACCOUNT = "https://ca.example/acme/account/1"
PLAIN = Issuance(False, frozenset({"ca.example"}), ACCOUNT, "dns-01")
WILD = Issuance(True, frozenset({"ca.example"}), ACCOUNT, "dns-01")

pytestmark = pytest.mark.timeout(60)


def permits(issuance: Issuance, *records: str | CaaRecord) -> bool:
    """Records are "flags tag value"."""
    parsed = []
    for record in records:
        if isinstance(record, str):
            flags, tag, value = [*record.split(" ", 2), ""][:3]
            record = CaaRecord(int(flags), tag.lower(), value.encode())
        parsed.append(record)
    try:
        evaluate(parsed, issuance)
    except CaaForbids:
        return False
    return True


@pytest.mark.row("attacks.wildcard-confusion")
@pytest.mark.row("caa.issue-value")
@pytest.mark.row("caa.wildcard")
@pytest.mark.row("caa.tags")
@pytest.mark.clause("RFC 8659 section 4.2")
@pytest.mark.must(
    "rfc8659.3.conforms",
    "rfc8659.3.unrestricted",
    "rfc8659.4.1.critical",
    "rfc8659.4.1.tag-case",
    "rfc8659.4.2.issuer",
    "rfc8659.4.2.malformed",
    "rfc8659.4.2.additive",
    "rfc8659.4.3.plain-names",
    "rfc8659.4.3.precedence",
    "rfc8659.4.5.unknown",
    "rfc8659.4.1.reserved-flags",
    "rfc8657.3.domain-too",
)
@pytest.mark.parametrize(
    ("records", "plain", "wild"),
    [
        ([], True, True),
        (["0 issue ca.example"], True, True),
        (["0 ISSUE CA.Example"], True, True),
        (["0 issue  ca.example "], True, True),
        (["128 issue ca.example"], True, True),
        (["0 issue ;"], False, False),
        (["0 issue"], False, False),
        (["0 issue other.example"], False, False),
        (["0 issue other.example", "0 issue ca.example"], True, True),
        (["0 issue ;", "0 issue ca.example"], True, True),
        (["0 issue sub.ca.example"], False, False),
        (["0 issue ca.example.evil.org"], False, False),
        (["0 issue xca.example"], False, False),
        (["0 issue ca.example; junk"], False, False),
        (["0 issue %%%"], False, False),
        (["0 issuewild ca.example"], True, True),
        (["0 issuewild ;"], True, False),
        (["0 issue ca.example", "0 issuewild ;"], True, False),
        (["0 issue ;", "0 issuewild ca.example"], False, True),
        (["0 issue ca.example", "0 issuewild %%%"], True, False),
        (["0 iodef mailto:x@ca.example"], True, True),
        (["128 iodef mailto:x@ca.example"], True, True),
        (["0 issuemail ;", "128 issuevmc ;", "128 contactemail x@y", "128 contactphone 1"], True, True),
        (["0 tbs unknown"], True, True),
        (["128 tbs unknown"], False, False),
        (["1 tbs unknown"], False, False),
        (["2 tbs unknown"], True, True),
        (["0 issue ca.example", "128 tbs unknown"], False, False),
        (["0 issue ca.example; unknown=parameter"], True, True),
        ([f"0 issue other.example; accounturi={ACCOUNT}"], False, False),
    ],
)
def test_the_relevant_set_decides(records: list[str], plain: bool, wild: bool) -> None:
    assert (permits(PLAIN, *records), permits(WILD, *records)) == (plain, wild)


@pytest.mark.row("caa.account")
@pytest.mark.row("attacks.dangling-cname")
@pytest.mark.clause("RFC 8657 section 3")
@pytest.mark.must(
    "rfc8657.3.uri", "rfc8657.3.only-the-account", "rfc8657.3.unrecognised", "rfc8657.3.1.acme-url"
)
@pytest.mark.parametrize(
    ("parameters", "permitted"),
    [
        (f"accounturi={ACCOUNT}", True),
        (f"ACCOUNTURI={ACCOUNT}", True),
        (f"accounturi={ACCOUNT}2", False),
        (f"accounturi={ACCOUNT.upper()}", False),
        ("accounturi=", False),
        (f"accounturi={ACCOUNT}; accounturi={ACCOUNT}", False),
        (f"accounturi={ACCOUNT}; AccountURI=https://other.example/1", False),
        (f"accounturi={ACCOUNT}; validationmethods=dns-01", True),
        (f"accounturi={ACCOUNT}; validationmethods=http-01", False),
    ],
)
def test_a_record_may_bind_an_account(parameters: str, permitted: bool) -> None:
    assert permits(PLAIN, f"0 issue ca.example; {parameters}") == permitted


@pytest.mark.row("caa.method")
@pytest.mark.clause("RFC 8657 section 4")
@pytest.mark.must("rfc8657.4.list", "rfc8657.4.only-the-method", "rfc8657.4.labels", "rfc8657.4.grammar")
@pytest.mark.parametrize(
    ("value", "permitted"),
    [
        ("dns-01", True),
        ("http-01,dns-01", True),
        ("http-01", False),
        ("DNS-01", False),
        ("dns-01,", False),
        ("", False),
        ("dns-01,,http-01", False),
        ("dns_01,dns-01", False),
        ("dns-01; validationmethods=dns-01", False),
    ],
)
def test_a_record_may_bind_methods(value: str, permitted: bool) -> None:
    assert permits(PLAIN, f"0 issue ca.example; validationmethods={value}") == permitted


# --- the climb ------------------------------------------------------------------------------------------


async def climb(table: dict, name: str = "a.b.example", public: bool = True):
    return await check(name, PLAIN, TableResolver(table), Trace(), tld_must_exist=public)


OURS = caa(0, "issue", "ca.example")
NOBODY = caa(0, "issue", ";")


@pytest.mark.row("caa.climb")
@pytest.mark.clause("RFC 8659 section 3")
@pytest.mark.must("rfc8659.3.climb")
async def test_all_levels_are_asked_and_none_found_permits() -> None:
    resolver = TableResolver()
    seen = await check("a.b.example", PLAIN, resolver, Trace(), tld_must_exist=True)
    assert (seen.result, seen.records, seen.found_at) == (Result.PASS, (), "")
    assert resolver.asked == ["a.b.example CAA", "b.example CAA", "example CAA"]


@pytest.mark.row("caa.climb")
@pytest.mark.clause("RFC 8659 section 3")
@pytest.mark.must("rfc8659.3.climb")
async def test_the_closest_set_wins() -> None:
    seen = await climb({"b.example CAA": [OURS], "example CAA": [NOBODY]})
    assert (seen.result, seen.found_at, seen.records) == (Result.PASS, "b.example", ('0 issue "ca.example"',))
    seen = await climb({"a.b.example CAA": [NOBODY], "b.example CAA": [OURS]})
    assert (seen.result, seen.problem, seen.found_at) == (Result.FAIL, "caa", "a.b.example")
    seen = await climb({"example CAA": [NOBODY]})
    assert (seen.result, seen.found_at, seen.ttl) == (Result.FAIL, "example", 60)


@pytest.mark.row("errors.caa")
@pytest.mark.row("caa.climb")
@pytest.mark.clause("BR 3.2.2.8")
@pytest.mark.parametrize("level", ["a.b.example", "b.example", "example"])
async def test_a_level_that_fails_before_a_set_was_met_is_a_failure(level: str) -> None:
    seen = await climb({f"{level} CAA": failure()})
    assert (seen.result, seen.problem) == (Result.FAIL, "dns")
    assert seen.detail.startswith("While processing CAA for a.b.example")


async def test_a_level_that_fails_above_the_relevant_set_is_no_matter() -> None:
    assert (await climb({"a.b.example CAA": [OURS], "example CAA": failure()})).result == Result.PASS


@pytest.mark.row("caa.climb")
async def test_names_that_do_not_exist_have_no_records_except_for_a_public_top_level() -> None:
    gone = {"a.b.example CAA": None, "b.example CAA": None}
    assert (await climb(gone)).result == Result.PASS
    gone["example CAA"] = None
    assert (await climb(gone)).problem == "dns"
    assert (await climb(gone, public=False)).result == Result.PASS


@pytest.mark.row("dns.broken-record")
async def test_a_record_with_an_impossible_tag_is_a_failure() -> None:
    seen = await climb({"b.example CAA": [OURS, b"\x00\x03a-bca.example"]})
    assert (seen.result, seen.problem, seen.found_at) == (Result.FAIL, "dns", "b.example")


async def test_a_resolver_that_is_away_is_raised_as_our_fault() -> None:
    with pytest.raises(TransientError):
        await climb({"b.example CAA": TransientError("away")})


@pytest.mark.row("limits.dns")
async def test_a_climb_that_takes_too_long_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(TableResolver):
        async def lookup(self, name: str, type: Type) -> Answer:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    monkeypatch.setattr("validation.caa.CLIMB_SECONDS", 0.05)
    seen = await check("a.example", PLAIN, Stuck(), Trace(), tld_must_exist=True)
    assert (seen.result, seen.problem) == (Result.FAIL, "dns")


@pytest.mark.row("caa.record")
async def test_what_permits_is_recorded_whole_with_its_place_its_ttl_and_whether_it_was_proven() -> None:
    many = [caa(0, "iodef", f"mailto:{number}@example.com") for number in range(80)]
    seen = await climb({"b.example CAA": [OURS, *many]})
    assert (seen.result, len(seen.records)) == (Result.PASS, 81)
    assert (seen.found_at, seen.ttl, seen.authenticated) == ("b.example", 60, True)
    assert seen.trace == (
        "dns a.b.example CAA: 0 records AD=1 from table",
        "dns b.example CAA: 81 records AD=1 from table",
    )


@pytest.mark.row("caa.record")
async def test_an_answer_that_was_not_proven_below_the_deciding_set_makes_the_whole_unproven() -> None:
    class Unsigned(TableResolver):
        async def lookup(self, name: str, type: Type) -> Answer:
            answer = await super().lookup(name, type)
            return replace(answer, authenticated=name != "b.example")

    for table, proven in (({"a.b.example CAA": [OURS]}, True), ({"example CAA": [OURS]}, False), ({}, False)):
        seen = await check("a.b.example", PLAIN, Unsigned(table), Trace(), tld_must_exist=True)
        assert (seen.result, seen.authenticated) == (Result.PASS, proven)


@pytest.mark.clause("RFC 8659 section 5.1")
@pytest.mark.must("rfc8659.5.1.unsigned-too")
async def test_a_set_that_forbids_forbids_unsigned_too() -> None:
    class Unsigned(TableResolver):
        async def lookup(self, name: str, type: Type) -> Answer:
            return replace(await super().lookup(name, type), authenticated=False)

    seen = await check(
        "a.b.example", PLAIN, Unsigned({"b.example CAA": [NOBODY]}), Trace(), tld_must_exist=True
    )
    assert (seen.result, seen.problem) == (Result.FAIL, "caa")


@pytest.mark.row("mpic.reevaluation")
async def test_a_set_that_permits_but_cannot_be_recorded_whole_is_refused() -> None:
    big = [OURS, *(caa(0, "iodef", b"\x00" * 200) for _ in range(20))]
    seen = await climb({"example CAA": big})
    assert (seen.result, seen.problem) == (Result.FAIL, "caa")
    assert "too large" in seen.detail


async def test_hostile_records_are_recorded_escaped_and_in_part() -> None:
    seen = await climb({"example CAA": [caa(0, "issue", b"\x1b\n" * 4000)] * 200})
    assert len(seen.records) == 50
    assert all(record.isprintable() and len(record) <= 300 for record in seen.records)
    assert seen.detail.isprintable()


@pytest.mark.row("caa.record")
@pytest.mark.clause("BR 5.4.1")
async def test_the_records_where_they_stood_their_ttl_and_whether_they_were_proven_are_kept() -> None:
    class Partly(TableResolver):
        """Proves nothing of b.example."""

        async def lookup(self, name: str, type: Type) -> Answer:
            return replace(await super().lookup(name, type), authenticated=name != "b.example")

    table = {"b.example CAA": [OURS, caa(128, "issuewild", ";")], "example CAA": [NOBODY]}
    seen = await check("a.b.example", PLAIN, Partly(table, ttl=7), Trace(), tld_must_exist=True)
    assert (seen.records, seen.found_at, seen.ttl) == (
        ('0 issue "ca.example"', '128 issuewild ";"'),
        "b.example",
        7,
    )
    assert not seen.authenticated
    assert seen.trace == (
        "dns a.b.example CAA: 0 records AD=1 from table",
        "dns b.example CAA: 2 records AD=0 from table",
    )
    assert (await climb({"a.b.example CAA": [OURS]})).authenticated
    assert (await climb({"a.b.example CAA": [NOBODY]})).authenticated
    assert (await climb({})).authenticated
    assert not (await climb({"example CAA": failure()})).authenticated


@pytest.mark.row("caa.record")
async def test_the_worlds_signed_and_unsigned_zones_are_told_apart(world: World) -> None:
    resolver = StubResolver([Upstream.parse(world.resolver)], SystemRandomness())
    for name, authenticated in (("caa-ours.example.com", True), ("www.insecure-example.com", False)):
        seen = await check(name, PLAIN, resolver, Trace(), tld_must_exist=True)
        assert (seen.result, seen.authenticated) == (Result.PASS, authenticated)
        assert seen.trace[0].startswith(f"dns {name} CAA: ")


@pytest.mark.row("caa.alias")
@pytest.mark.clause("RFC 8659 section 3")
@pytest.mark.must("rfc8659.3.aliases")
async def test_at_each_level_aliases_are_followed_cname_and_dname(world: World) -> None:
    world.set_records("cname.aliases.example.com", "CNAME", ["caa-deny.example.com."])
    world.set_records("tree.aliases.example.com", "DNAME", ["example.com."])
    resolver = StubResolver([Upstream.parse(world.resolver)], SystemRandomness())
    for name, found_at in (
        ("cname.aliases.example.com", "cname.aliases.example.com"),
        ("caa-deny.tree.aliases.example.com", "caa-deny.tree.aliases.example.com"),
    ):
        seen = await check(name, PLAIN, resolver, Trace(), tld_must_exist=True)
        assert (seen.result, seen.problem, seen.found_at) == (Result.FAIL, "caa", found_at)
        assert "CNAME caa-deny.example.com" in seen.trace[0]


@pytest.mark.row("attacks.wildcard-confusion")
@pytest.mark.row("caa.wildcard")
@pytest.mark.parametrize(
    ("name", "wildcard", "method", "result", "found_at"),
    [
        ("www.example.com", False, "dns-01", Result.PASS, ""),
        ("caa-ours.example.com", False, "http-01", Result.PASS, "caa-ours.example.com"),
        ("below.caa-ours.example.com", False, "http-01", Result.PASS, "caa-ours.example.com"),
        ("caa-deny.example.com", False, "http-01", Result.FAIL, "caa-deny.example.com"),
        ("caa-inherited.caa-deny.example.com", False, "http-01", Result.FAIL, "caa-deny.example.com"),
        ("caa-other.example.com", False, "http-01", Result.FAIL, "caa-other.example.com"),
        ("caa-issuewild-deny.example.com", False, "dns-01", Result.PASS, "caa-issuewild-deny.example.com"),
        ("caa-issuewild-deny.example.com", True, "dns-01", Result.FAIL, "caa-issuewild-deny.example.com"),
        ("caa-issuewild-ours.example.com", True, "dns-01", Result.PASS, "caa-issuewild-ours.example.com"),
        ("caa-issuewild-ours.example.com", False, "dns-01", Result.FAIL, "caa-issuewild-ours.example.com"),
        ("caa-critical.example.com", False, "http-01", Result.FAIL, "caa-critical.example.com"),
        ("caa-dns-only.example.com", False, "dns-01", Result.PASS, "caa-dns-only.example.com"),
        ("caa-dns-only.example.com", False, "http-01", Result.FAIL, "caa-dns-only.example.com"),
        ("caa-foreign-account.example.com", False, "http-01", Result.FAIL, "caa-foreign-account.example.com"),
        ("www.insecure-example.com", False, "http-01", Result.PASS, ""),
        ("www.expired-example.com", False, "http-01", Result.FAIL, ""),
        ("www.stripped-example.com", False, "http-01", Result.FAIL, ""),
    ],
)
async def test_the_worlds_zones_are_judged(
    world: World, name: str, wildcard: bool, method: str, result: Result, found_at: str
) -> None:
    resolver = StubResolver([Upstream.parse(world.resolver)], SystemRandomness())
    issuance = Issuance(wildcard, frozenset({"ca.example"}), ACCOUNT, method)
    seen = await check(name, issuance, resolver, Trace(), tld_must_exist=True)
    assert (seen.result, seen.found_at) == (result, found_at)


@pytest.mark.row("caa.alias")
@pytest.mark.clause("RFC 8659 section 3")
@pytest.mark.must("rfc8659.3.aliases")
async def test_the_climb_never_goes_up_from_an_aliass_target(world: World) -> None:
    # The target's parent forbids; the name's own parents do not.
    world.set_records("climb.example.com", "CNAME", ["caa-inherited.caa-deny.example.com."])
    resolver = StubResolver([Upstream.parse(world.resolver)], SystemRandomness())
    seen = await check("climb.example.com", PLAIN, resolver, Trace(), tld_must_exist=True)
    assert (seen.result, seen.found_at) == (Result.PASS, "")
