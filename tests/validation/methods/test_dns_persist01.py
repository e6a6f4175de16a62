"""dns-persist-01: what a record must say, by table; and where it is looked for, by the world's resolver."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.randomness import SystemRandomness
from tests.support.fake_dns import TableResolver, failure
from tests.world.world import World
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Tools
from validation.dns.resolver import Resolver, StubResolver, Type, Upstream
from validation.hosts.dialer import GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import dns_persist01
from validation.methods.dns_persist01 import Sought, evaluate
from validation.verdict import CheckFailed, Trace

NOW = 1_800_000_000
ACCOUNT = "https://ca.example/acme/account/Abc_1"
OURS = frozenset({"ca.example", "ca.example.net"})
SOUGHT = Sought(OURS, ACCOUNT, wildcard=False, at=NOW)
CHALLENGE = replace(Challenge.of("www.example", False, ACCOUNT, "", "x" * 43), at=NOW)
NAME = "_validation-persist.www.example"
RIGHT = f"ca.example; accounturi={ACCOUNT}"

pytestmark = pytest.mark.timeout(30)


async def check(resolver: Resolver, challenge: Challenge = CHALLENGE) -> tuple[int, Trace]:
    trace = Trace()
    tools = Tools(resolver, GuardedDialer(), AddressPolicy(), Ports(), lambda host: host, identities=OURS)
    return await dns_persist01.check(challenge, tools, trace), trace


def refused(values: list[bytes], sought: Sought = SOUGHT) -> tuple[str, str]:
    with pytest.raises(CheckFailed) as raised:
        evaluate(values, sought)
    assert raised.value.detail.isprintable()
    return raised.value.problem, raised.value.detail


# --- what a record must say -------------------------------------------------------------------------------


@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.row("methods.dns-persist-01")
@pytest.mark.parametrize(
    "value",
    [
        RIGHT,
        f"ca.example.net; accounturi={ACCOUNT}",
        f"CA.Example;accounturi={ACCOUNT}",
        f"  ca.example \t;\taccounturi={ACCOUNT}  ",
        f"ca.example; ACCOUNTURI={ACCOUNT}",
        f"ca.example; accounturi={ACCOUNT}; persistUntil={NOW}",
        f"ca.example; accounturi={ACCOUNT}; PersistUntil={NOW + 1}",
        f"ca.example; accounturi={ACCOUNT}; persistUntil=999999999999999999",
        f"ca.example; accounturi={ACCOUNT}; policy=wildcard",
        f"ca.example; accounturi={ACCOUNT}; policy=unheard-of",
        f"ca.example; accounturi={ACCOUNT}; policy=",
        f"ca.example; fresh=1; accounturi={ACCOUNT}; unknown=",
    ],
)
def test_a_record_that_names_us_and_the_account_grants(value: str) -> None:
    assert evaluate([value.encode()], SOUGHT) == value.encode()


@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.row("methods.dns-persist-01", "errors.persist")
@pytest.mark.parametrize(
    ("value", "problem", "says"),
    [
        ("ca.example", "malformed", "no accounturi"),
        ("ca.example;", "malformed", "no accounturi"),
        ("ca.example; policy=wildcard", "malformed", "no accounturi"),
        (f"ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}", "malformed", "accounturi stands more"),
        (f"ca.example; accounturi={ACCOUNT}; AccountURI=x", "malformed", "accounturi stands more"),
        (f"ca.example; accounturi={ACCOUNT}; policy=wildcard; policy=wildcard", "malformed", "policy"),
        (f"{RIGHT}; persistUntil={NOW}; persistuntil={NOW}", "malformed", "persistuntil"),
        (f"{RIGHT}; unknown=1; unknown=2", "malformed", "unknown"),
        (f"ca.example; accounturi={ACCOUNT};", "malformed", "tag=value"),
        (f"ca.example; accounturi {ACCOUNT}", "malformed", "tag=value"),
        (f"ca.example; account_uri={ACCOUNT}", "malformed", "tag=value"),
        (f"{RIGHT}; persistUntil=", "malformed", "persistUntil"),
        (f"{RIGHT}; persistUntil=soon", "malformed", "persistUntil"),
        (f"{RIGHT}; persistUntil=-1", "malformed", "persistUntil"),
        (f"{RIGHT}; persistUntil=+{NOW}", "malformed", "persistUntil"),
        (f"{RIGHT}; persistUntil={NOW}.5", "malformed", "persistUntil"),
        (f"{RIGHT}; persistUntil=0x{NOW:x}", "malformed", "persistUntil"),
        (f"{RIGHT}; persistUntil={'9' * 5000}", "malformed", "persistUntil"),
        (f"{RIGHT}; persistUntil={NOW - 1}", "unauthorized", "expired"),
        (f"{RIGHT}; persistUntil=0", "unauthorized", "expired"),
        (f"ca.example; accounturi={ACCOUNT}2", "unauthorized", "accounturi"),
        (f"ca.example; accounturi={ACCOUNT.lower()}", "unauthorized", "accounturi"),
        (f"ca.example; accounturi={ACCOUNT}/", "unauthorized", "accounturi"),
        ("ca.example; accounturi=", "unauthorized", "accounturi"),
    ],
)
def test_a_record_that_names_us_wrongly_is_told_why(value: str, problem: str, says: str) -> None:
    seen, detail = refused([value.encode()])
    assert seen == problem
    assert says in detail


@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.row("errors.persist")
@pytest.mark.parametrize(
    "value",
    [
        f"other.example; accounturi={ACCOUNT}",
        f"sub.ca.example; accounturi={ACCOUNT}",
        f"ca.example.; accounturi={ACCOUNT}",
        f"ca.example.evil.example; accounturi={ACCOUNT}",
        f'"ca.example"; accounturi={ACCOUNT}',
        f"; accounturi={ACCOUNT}",
        "v=spf1 -all",
        "",
        "other.example; broken broken",
        "\u212aa.example",
    ],
)
def test_records_for_others_are_ignored_be_they_broken_or_not(value: str) -> None:
    problem, detail = refused([value.encode()])
    assert (problem, "names ca.example or ca.example.net" in detail) == ("unauthorized", True)
    assert evaluate([value.encode(), RIGHT.encode()], SOUGHT) == RIGHT.encode()


@pytest.mark.row("methods.dns-persist-01")
def test_one_record_that_grants_is_enough_beside_any_that_do_not() -> None:
    wrong = [f"ca.example; accounturi={ACCOUNT}x".encode(), b"ca.example; \xff", RIGHT.encode() + b"; x"]
    for position in range(4):
        values = [*wrong[:position], RIGHT.encode(), *wrong[position:]]
        assert evaluate(values, SOUGHT) == RIGHT.encode()


@pytest.mark.row("errors.persist")
def test_the_answer_does_not_depend_on_the_order_of_records() -> None:
    values = [
        f"ca.example; accounturi={ACCOUNT}x".encode(),
        b"ca.example",
        RIGHT.encode() + b"; persistUntil=1",
    ]
    assert refused(values) == refused(values[::-1]) == refused([values[1], values[2], values[0]])
    assert refused(values)[0] == "malformed"


@pytest.mark.clause("draft-ietf-acme-dns-persist-00 section 5")
@pytest.mark.row("methods.dns-persist-01-wildcard", "errors.persist")
def test_a_wildcard_needs_policy_wildcard() -> None:
    wild = replace(SOUGHT, wildcard=True)
    for policy in ("wildcard", "WildCard"):
        evaluate([f"{RIGHT}; policy={policy}".encode()], wild)
    for tail in ("", "; policy=", "; policy=wild", "; policy=wildcards", "; pol=wildcard"):
        problem, detail = refused([RIGHT.encode() + tail.encode()], wild)
        assert (problem, "policy=wildcard" in detail) == ("unauthorized", True)


@given(st.binary(max_size=80))
def test_no_octets_upset_it_and_none_grant_by_chance(octets: bytes) -> None:
    for value in (octets, b"ca.example;" + octets):
        with pytest.raises(CheckFailed) as raised:
            evaluate([value], SOUGHT)
        assert raised.value.detail.isprintable()


# --- where it is looked for ---------------------------------------------------------------------------------


@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.row("methods.dns-persist-01", "limits.reuse")
async def test_the_ttl_of_the_record_is_told() -> None:
    ttl, trace = await check(TableResolver({f"{NAME} TXT": ["other", RIGHT]}, ttl=777))
    assert ttl == 777
    assert trace.lines()[0].startswith(f"dns {NAME} TXT")
    assert RIGHT in trace.lines()[1]


@pytest.mark.row("errors.dns", "errors.txt-unauthorized")
@pytest.mark.parametrize(
    ("records", "problem"),
    [(None, "dns"), (failure(NAME, Type.TXT), "dns"), ((), "unauthorized"), (["ca.example"], "malformed")],
)
async def test_a_name_without_a_usable_record_is_refused(records, problem: str) -> None:
    with pytest.raises(CheckFailed) as raised:
        await check(TableResolver({f"{NAME} TXT": records}))
    assert raised.value.problem == problem
    assert NAME in raised.value.detail


@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.row("methods.dns-persist-01-adn", "attacks.prune-after-cname")
async def test_the_alias_of_a_name_moves_nothing_and_the_alias_of_the_label_is_followed(world: World) -> None:
    resolver = StubResolver([Upstream.parse(world.resolver)], SystemRandomness())
    world.set_records("shop.example.com", "CNAME", ["target.example.com."])
    world.set_txt("_validation-persist.target.example.com", f"{RIGHT}; policy=wildcard")
    with pytest.raises(CheckFailed, match=r"_validation-persist\.shop\.example\.com"):
        await check(resolver, replace(CHALLENGE, name="shop.example.com"))

    world.set_records("_validation-persist.mall.example.com", "CNAME", ["records.example.com."])
    world.set_txt("records.example.com", RIGHT)
    ttl, trace = await check(resolver, replace(CHALLENGE, name="mall.example.com"))
    assert ttl > 0
    assert "CNAME records.example.com" in trace.lines()[0]
    # Nor does a parent's record count, whatever its policy: the Authorization Domain Name is the name itself.
    with pytest.raises(CheckFailed):
        await check(resolver, replace(CHALLENGE, name="sub.target.example.com"))
