"""dns-persist-01: what a record must say, by table; and where it is looked for, by the world's resolver."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import account_hash
from core.randomness import SystemRandomness
from tests.support.fake_dns import TableResolver, failure
from tests.world.world import World
from validation.addresses import AddressPolicy
from validation.challenge import Challenge, Shown, Tools
from validation.dns.resolver import Resolver, StubResolver, Type, Upstream
from validation.hosts.dialer import GuardedDialer
from validation.hosts.redirects import Ports
from validation.methods import dns_persist01
from validation.methods.dns_persist01 import Grant, Sought, evaluate
from validation.verdict import CheckFailed, Trace

NOW = 1_800_000_000
ACCOUNT = "https://ca.example/acme/account/Abc_1"
OURS = frozenset({"ca.example", "ca.example.net"})
KEY, OLDER, OLDEST = ("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "o" * 43, "p" * 43)
HASHED = Sought(OURS, ACCOUNT, wildcard=False, at=NOW, domain="www.example", thumbprints=(KEY, OLDER, OLDEST))
SOUGHT = replace(HASHED, plain=True)
CHALLENGE = replace(Challenge.of("www.example", False, ACCOUNT, "", KEY, (OLDER, OLDEST)), at=NOW)
NAME = "_validation-persist.www.example"
RIGHT = f"ca.example; accounturi={ACCOUNT}"

pytestmark = pytest.mark.timeout(30)


async def check(
    resolver: Resolver, challenge: Challenge = CHALLENGE, *, plain: bool = True
) -> tuple[Shown, Trace]:
    trace = Trace()
    tools = Tools(
        resolver,
        GuardedDialer(),
        AddressPolicy(),
        Ports(),
        lambda host: host,
        identities=OURS,
        persist_plain=plain,
    )
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
    granted = evaluate([value.encode()], SOUGHT)
    assert (granted.value, granted.account_hash, granted.thumbprint) == (value.encode(), "", "")


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
    assert evaluate([value.encode(), RIGHT.encode()], SOUGHT).value == RIGHT.encode()


@pytest.mark.row("methods.dns-persist-01")
def test_one_record_that_grants_is_enough_beside_any_that_do_not() -> None:
    wrong = [f"ca.example; accounturi={ACCOUNT}x".encode(), b"ca.example; \xff", RIGHT.encode() + b"; x"]
    for position in range(4):
        values = [*wrong[:position], RIGHT.encode(), *wrong[position:]]
        assert evaluate(values, SOUGHT).value == RIGHT.encode()


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


# --- which key it names -------------------------------------------------------------------------------------

OWN, ANY = account_hash.uris("www.example", KEY, ACCOUNT)


def record(uri: str, tail: str = "") -> bytes:
    return f"ca.example; accounturi={uri}{tail}".encode()


def granted(*values: bytes, sought: Sought = HASHED) -> Grant:
    """The grant, which is the same in whatever order the records come."""
    found = evaluate(values, sought)
    assert evaluate(values[::-1], sought) == found
    return found


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
@pytest.mark.parametrize("uri", [OWN, ANY], ids=["for the domain", "for any"])
def test_the_hashed_form_names_the_account_and_its_key(uri: str) -> None:
    for tail in ("", "; policy=wildcard", "; unknown=1"):
        for sought in (HASHED, SOUGHT):
            found = granted(record(uri, tail), sought=sought)
            assert (found.account_hash, found.thumbprint, found.good_until) == (uri, KEY, 0)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.2")
def test_a_record_of_an_earlier_key_still_grants_and_the_current_key_is_preferred() -> None:
    old = record(account_hash.uris("www.example", OLDER, ACCOUNT)[0])
    oldest = record(account_hash.uris("www.example", OLDEST, ACCOUNT)[1])
    assert granted(oldest).thumbprint == OLDEST
    assert granted(oldest, old).thumbprint == OLDER
    assert granted(oldest, old, record(OWN)).thumbprint == KEY
    assert granted(record(ACCOUNT), oldest, sought=SOUGHT).thumbprint == OLDEST
    problem, detail = refused([oldest], replace(HASHED, thumbprints=(KEY, OLDER)))
    assert (problem, OWN in detail) == ("unauthorized", True)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
def test_of_records_for_the_same_key_the_one_that_lasts_counts() -> None:
    soon, late = record(OWN, f"; persistUntil={NOW + 5}"), record(ANY, f"; persistUntil={NOW + 9}")
    assert granted(soon).good_until == NOW + 5
    assert granted(soon, late).good_until == NOW + 9
    assert granted(soon, late, record(OWN)).good_until == 0


OTHER = "https://other.example/acme/account-hash/sha-256/"
STEM = OWN.rpartition("/")[0] + "/"


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 9.3.1")
@pytest.mark.row("errors.persist")
@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        (ACCOUNT, "malformed"),
        (ACCOUNT + "2", "malformed"),
        ("", "malformed"),
        (OTHER + OWN.rpartition("/")[2], "malformed"),
        (OWN.replace("sha-256", "sha-512"), "malformed"),
        (OWN.replace("sha-256", "SHA-256"), "malformed"),
        (OWN.replace("https", "HTTPS"), "malformed"),
        (OWN[:-1], "malformed"),
        (OWN + "=", "malformed"),
        (STEM + "+" * 43, "malformed"),
        (account_hash.uris("example", KEY, ACCOUNT)[0], "unauthorized"),
        (account_hash.uris("WWW.example", KEY, ACCOUNT)[0], "unauthorized"),
        (account_hash.uris("www.example", "q" * 43, ACCOUNT)[0], "unauthorized"),
        (account_hash.uris("www.example", KEY, ACCOUNT + "2")[0], "unauthorized"),
    ],
)
def test_any_other_accounturi_is_refused_and_the_right_one_is_told(uri: str, problem: str) -> None:
    seen, detail = refused([record(uri)], HASHED)
    assert (seen, OWN in detail) == (problem, True)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
async def test_the_key_and_the_time_of_the_record_are_told() -> None:
    table = {f"{NAME} TXT": [f"ca.example; accounturi={ANY}; persistUntil={NOW + 60}"]}
    shown, _ = await check(TableResolver(table, ttl=60), plain=False)
    assert shown == Shown(60, ANY, KEY, NOW + 60)
    with pytest.raises(CheckFailed, match="plain account URL, not accepted"):
        await check(TableResolver({f"{NAME} TXT": [RIGHT]}), plain=False)


# --- where it is looked for ---------------------------------------------------------------------------------


@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.row("methods.dns-persist-01", "limits.reuse")
async def test_the_ttl_of_the_record_is_told() -> None:
    shown, trace = await check(TableResolver({f"{NAME} TXT": ["other", RIGHT]}, ttl=777))
    assert shown == Shown(777)
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
    shown, trace = await check(resolver, replace(CHALLENGE, name="mall.example.com"))
    assert shown.ttl > 0
    assert "CNAME records.example.com" in trace.lines()[0]
    # Nor does a parent's record count, whatever its policy: the Authorization Domain Name is the name itself.
    with pytest.raises(CheckFailed):
        await check(resolver, replace(CHALLENGE, name="sub.target.example.com"))
