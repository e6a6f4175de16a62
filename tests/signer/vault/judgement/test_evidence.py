"""vault/judgement/evidence.py: nothing but enough honest, fresh, agreeing statements lets a name pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from core import account_hash
from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement
from core.settings import Rules
from signer.vault.judgement.evidence import METHODS, PinnedPerspective, Verifier
from tests.support.applicant import ACCOUNT_KEY, AccountKey, applicant, key_change
from tests.support.software_ca import leaf_request

NOW = 1795478400
"""2026-11-24: four remote perspectives are the rule; from 2026-12-15 five."""

HOUR, DAY = 3600, 86400
NAME, WILDCARD, OTHER = "www.acme-shop.com", "*.acme-shop.com", "other.acme-shop.com"
ACCOUNT = "https://ca.acme-ca.com/acme/account/1"
REGIONS = ("APNIC", "ARIN", "RIPE NCC", "LACNIC", "ARIN", "APNIC", "AFRINIC")
SECRETS = [ec.generate_private_key(ec.SECP256R1()) for _ in REGIONS]
KEYS = [PerspectiveKey(secret) for secret in SECRETS]
CODES = [f"p{number}" for number in range(len(REGIONS))]


def verifier(
    count: int = 5,
    rules: Rules = Rules.PUBLIC,
    local: Sequence[str] = ("localhost",),
    methods: Sequence[str] = tuple(METHODS),
    plain: bool = False,
) -> Verifier:
    """The first `count` perspectives pinned; p0 is the primary."""
    pinned = {
        key.key_id: PinnedPerspective(code, region, 0.0, 0.0, secret.public_key())
        for key, code, region, secret in list(zip(KEYS, CODES, REGIONS, SECRETS, strict=True))[:count]
    }
    return Verifier(pinned, rules, local, methods, persist_plain=plain)


def control_seen(method: str, base: str, thumbprint: str = ACCOUNT_KEY.thumbprint) -> ControlSeen:
    persistent = method == "dns-persist-01"
    uri = account_hash.uris(base, thumbprint, ACCOUNT)[0] if persistent else ""
    return ControlSeen(method, base, Result.PASS, thumbprint=thumbprint, account_hash=uri)


def statement(number: int = 0, name: str = NAME, method: str = "http-01", **changes: Any) -> Statement:
    base = name.removeprefix("*.")
    return replace(
        Statement(
            perspective=CODES[number],
            name=name,
            account_url=ACCOUNT,
            attempt="attempt-1",
            checked_at=NOW - 60,
            control=control_seen(method, base),
            caa=CaaSeen(Result.PASS, ('0 issue "ca.example"',), "acme-shop.com", 300, method=method),
        ),
        **changes,
    )


def recheck(number: int, at: int, result: Result = Result.PASS, method: str = "http-01") -> Statement:
    return statement(
        number, attempt="attempt-2", checked_at=at, control=None, caa=CaaSeen(result, method=method)
    )


def signed(statements: Sequence[Statement]) -> tuple[SignedStatement, ...]:
    return tuple(KEYS[CODES.index(each.perspective)].sign(each) for each in statements)


def attempt(count: int = 5, **changes: Any) -> list[Statement]:
    return [statement(number, **changes) for number in range(count)]


def verify(
    statements: Sequence[Statement],
    *,
    by: Verifier | None = None,
    names: tuple[str, ...] = (NAME,),
    now: int = NOW,
    account: str = ACCOUNT,
) -> None:
    request = leaf_request(names=names, account_url=account, evidence=signed(statements))
    (by or verifier()).verify(request, now)


def refused(code: str, act: Callable[[], None]) -> None:
    with pytest.raises(Refused) as refusal:
        act()
    assert refusal.value.code == code, refusal.value


def failed(number: int, **changes: Any) -> Statement:
    found = statement(number, **changes)
    assert found.control is not None
    return replace(found, control=replace(found.control, result=Result.FAIL))


def caa_failed(number: int) -> Statement:
    found = statement(number)
    assert found.caa is not None
    return replace(found, caa=replace(found.caa, result=Result.INDETERMINATE))


def test_five_perspectives_that_agree_are_enough() -> None:
    verify(attempt())


@pytest.mark.must("rfc8659.3.every-name")
def test_evidence_for_two_names_and_a_wildcard_is_enough_for_each() -> None:
    names = (NAME, WILDCARD, OTHER)
    statements = [
        *attempt(),
        *attempt(name=WILDCARD, method="dns-01", attempt="attempt-2"),
        *attempt(name=OTHER, attempt="attempt-3"),
    ]
    verify(statements, names=names)
    for missing in range(3):
        rest = statements[: missing * 5] + statements[missing * 5 + 5 :]
        refused("evidence.missing", lambda rest=rest: verify(rest, names=names))  # type: ignore[misc]


def test_one_pinned_perspective_is_the_list_of_length_one_under_private_rules() -> None:
    verify([statement()], by=verifier(1, Rules.PRIVATE))


@pytest.mark.clause("BR 3.2.2.9")
def test_one_pinned_perspective_is_not_enough_under_the_public_rules() -> None:
    refused("quorum.too-few", lambda: verify([statement()], by=verifier(1)))


def test_no_evidence_is_refused() -> None:
    refused("evidence.missing", lambda: verify([]))


def test_a_flood_of_evidence_is_refused_before_it_is_verified() -> None:
    flood = signed([statement()]) * 2001
    refused("evidence.missing", lambda: verifier().verify(leaf_request(evidence=flood), NOW))


@pytest.mark.row("mpic.sets")
@pytest.mark.row("mpic.quorum")
@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize(
    ("pinned", "failing", "at", "code"),
    [
        (5, [], NOW, None),
        (5, [1], NOW, None),
        (5, [1, 2], NOW, "quorum.not-met"),
        (5, [0], NOW, "evidence.primary"),
        (4, [], NOW, "quorum.too-few"),
        (5, [], 1797292800, "quorum.too-few"),  # 2026-12-15T00:00:00Z: five remotes
        (5, [], 1797292799, None),
        (6, [5], 1797292800, None),
        (7, [5, 6], NOW, None),
        (7, [4, 5, 6], NOW, "quorum.not-met"),
    ],
)
@pytest.mark.parametrize("how", ["control", "caa", "silence"])
def test_the_quorum_of_the_day_binds_control_and_caa(
    pinned: int, failing: list[int], at: int, code: str | None, how: str
) -> None:
    def view(number: int) -> Statement | None:
        if number not in failing:
            return statement(number)
        return {"control": failed(number), "caa": caa_failed(number), "silence": None}[how]

    views = [view(number) for number in range(pinned)]
    statements = [replace(each, checked_at=at) for each in views if each is not None]
    if code is None:
        verify(statements, by=verifier(pinned), now=at)
    else:
        refused(code, lambda: verify(statements, by=verifier(pinned), now=at))


@pytest.mark.clause("BR 3.2.2.9")
def test_remotes_that_agree_from_one_region_alone_are_refused() -> None:
    pinned = {
        key.key_id: PinnedPerspective(code, "ARIN", 0.0, 0.0, secret.public_key())
        for key, code, secret in list(zip(KEYS, CODES, SECRETS, strict=True))[:5]
    }
    refused("quorum.regions", lambda: verify(attempt(), by=Verifier(pinned, Rules.PUBLIC, ())))


def test_under_private_rules_every_pinned_perspective_must_agree() -> None:
    by = verifier(3, Rules.PRIVATE)
    verify(attempt(3), by=by)
    refused("quorum.not-met", lambda: verify([*attempt(2), failed(2)], by=by))
    refused("quorum.not-met", lambda: verify(attempt(2), by=by))


@pytest.mark.row("attacks.retry-shopping")
@pytest.mark.row("mpic.no-sharing")
@pytest.mark.clause("BR 3.2.2.9")
def test_lucky_answers_of_several_attempts_are_not_added_up() -> None:
    first = [statement(0), statement(1), statement(2), failed(3), failed(4)]
    second = [
        replace(each, attempt="attempt-2") for each in (statement(0), statement(3), statement(4), failed(1))
    ]
    refused("evidence.attempts", lambda: verify([*first, *second]))
    mixed = [replace(each, control=None) for each in second]
    refused("quorum.not-met", lambda: verify([*first, *mixed]))


def test_one_perspective_cannot_speak_twice_in_an_attempt() -> None:
    refused("evidence.duplicate", lambda: verify([*attempt(), statement(1, checked_at=NOW - 61)]))


@pytest.mark.clause("BR 3.2.2.9")
def test_perspectives_that_looked_at_different_hours_corroborate_nothing() -> None:
    last = attempt()[-1]
    for earlier, holds in ((150, True), (151, False)):
        statements = [*attempt()[:-1], replace(last, checked_at=last.checked_at - earlier)]
        if holds:
            verify(statements)
        else:
            refused("evidence.span", partial(verify, statements))


@pytest.mark.row("methods.wildcard")
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.clause("BR 3.2.2.4.19, 3.2.2.4.20")
def test_a_wildcard_needs_a_dns_method(method: str) -> None:
    def act() -> None:
        verify(attempt(name=WILDCARD, method=method), names=(WILDCARD,))

    if method.startswith("dns-"):
        act()
    else:
        refused("evidence.wildcard", act)


@pytest.mark.row("methods.ip")
@pytest.mark.clause("RFC 8738 section 7")
@pytest.mark.parametrize("name", ["9.9.9.9", "2620:fe::fe"])
@pytest.mark.parametrize("method", list(METHODS))
def test_an_address_is_shown_by_http_01_and_tls_alpn_01_and_has_no_caa(name: str, method: str) -> None:
    exempt = CaaSeen(Result.PASS, exempt="IP address", method=method)
    seen = attempt(name=name, method=method, caa=exempt)
    if method not in ("http-01", "tls-alpn-01"):
        refused("evidence.address", lambda: verify(seen, names=(name,)))
        return
    verify(seen, names=(name,))
    looked = [replace(each, caa=CaaSeen(Result.PASS, method=method)) for each in seen]
    refused("evidence.caa-odd", lambda: verify(looked, names=(name,)))


@pytest.mark.row("methods.ip")
@pytest.mark.clause("BR 3.2.2.8")
def test_a_name_is_never_exempt_from_caa_as_an_address_is() -> None:
    exempt = CaaSeen(Result.PASS, exempt="IP address", method="http-01")
    refused("evidence.caa-exempt", lambda: verify(attempt(caa=exempt)))
    private = verifier(rules=Rules.PRIVATE)
    refused("evidence.caa-exempt", lambda: verify(attempt(caa=exempt), by=private))


@pytest.mark.clause("RFC 8555 section 8.1")
def test_a_method_whose_record_stays_counts_only_where_the_settings_list_it() -> None:
    statements = attempt(method="dns-persist-01")
    verify(statements)
    others = [method for method in METHODS if method != "dns-persist-01"]
    refused("evidence.method", lambda: verify(statements, by=verifier(methods=others)))
    refused("evidence.method", lambda: verify(statements, by=verifier(methods=())))
    # The others may be switched off for new orders: what they have shown stays shown.
    verify(attempt(method="dns-01"), by=verifier(methods=()))


def persistent(**changes: Any) -> list[Statement]:
    """An attempt by dns-persist-01 in which the perspectives saw something else."""
    seen = replace(control_seen("dns-persist-01", NAME), **changes)
    return [replace(each, control=seen) for each in attempt(method="dns-persist-01")]


@pytest.mark.clause("RFC 8555 section 8.1")
def test_a_record_that_names_no_key_counts_only_where_the_settings_say_so() -> None:
    plain = persistent(account_hash="")
    refused("evidence.method", lambda: verify(plain))
    verify(plain, by=verifier(plain=True))
    mixed = [plain[0], *attempt(method="dns-persist-01")[1:]]
    refused("evidence.method", lambda: verify(mixed))


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.2")
def test_the_hash_in_a_record_is_worked_out_anew() -> None:
    key = ACCOUNT_KEY.thumbprint
    for domain in (NAME, "*"):
        verify(persistent(account_hash=_uri(domain, key, ACCOUNT)))
    for wrong in (
        _uri("acme-shop.com", key, ACCOUNT),
        _uri(NAME, "x" * 43, ACCOUNT),
        _uri(NAME, key, ACCOUNT + "2"),
        _uri(NAME, key, ACCOUNT).replace("ca.acme-ca.com", "ca.acme-cb.com"),
        ACCOUNT,
        "x",
    ):
        refused("evidence.account-hash", lambda uri=wrong: verify(persistent(account_hash=uri)))  # type: ignore[misc]
        if wrong != ACCOUNT:
            act = lambda uri=wrong: verify(persistent(account_hash=uri), by=verifier(plain=True))  # noqa: E731
            refused("evidence.account-hash", act)


def _uri(domain: str, thumbprint: str, account: str) -> str:
    return account_hash.uris(domain, thumbprint, account)[0]


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.2")
def test_a_record_of_an_older_key_counts_when_the_account_itself_changed_it() -> None:
    old = AccountKey(ec.generate_private_key(ec.SECP256R1()))
    seen = persistent(thumbprint=old.thumbprint, account_hash=_uri(NAME, old.thumbprint, ACCOUNT))
    refused("evidence.account-key", lambda: verify(seen))
    change = key_change(old, ACCOUNT_KEY, ACCOUNT)
    request = leaf_request(names=(NAME,), account_url=ACCOUNT, evidence=signed(seen))
    chained = applicant((NAME,), request.public_key, ACCOUNT, key_changes=(change,))
    verifier().verify(replace(request, applicant=chained), NOW)


@pytest.mark.clause("draft-ietf-acme-dns-persist-02 section 4.1")
def test_nothing_is_issued_after_the_records_persist_until() -> None:
    for end, good in ((NOW, True), (NOW - 1, False), (0, True)):
        seen = persistent(good_until=end)
        if good:
            verify(seen)
        else:
            refused("evidence.too-old", lambda seen=seen: verify(seen))  # type: ignore[misc]
    shortest = [*persistent()[:4], persistent(good_until=NOW - 1)[4]]
    refused("evidence.too-old", lambda: verify(shortest))


@pytest.mark.parametrize("method", ["", "email-reply-00", "HTTP-01", "caa"])
def test_an_unknown_method_is_refused(method: str) -> None:
    refused("evidence.method", lambda: verify(attempt(method=method)))


def test_perspectives_that_used_different_methods_do_not_corroborate() -> None:
    refused("evidence.method", lambda: verify([*attempt(4), statement(4, method="dns-01")]))


def test_evidence_for_a_name_is_none_for_its_wildcard_or_its_parent() -> None:
    refused("evidence.name", lambda: verify(attempt(), names=(WILDCARD,)))
    refused("evidence.name", lambda: verify(attempt(), names=("acme-shop.com",)))
    refused("evidence.name", lambda: verify(attempt(), names=("a." + NAME,)))


def test_control_of_another_name_is_refused() -> None:
    wrong = [
        replace(each, control=ControlSeen("dns-01", "acme-shop.com", Result.PASS))
        for each in attempt(method="dns-01")
    ]
    refused("evidence.adn", lambda: verify(wrong))


@pytest.mark.row("attacks.token-confusion")
def test_evidence_for_another_account_is_refused() -> None:
    refused("evidence.account", lambda: verify(attempt(), account=ACCOUNT + "2"))


@pytest.mark.row("limits.reuse")
@pytest.mark.clause("BR 4.2.1")
@pytest.mark.parametrize(
    ("age", "at", "fresh"),
    [
        (200 * DAY, NOW, True),
        (200 * DAY + 1, NOW, False),
        (100 * DAY, 1805068800, True),  # 2027-03-15
        (100 * DAY + 1, 1805068800, False),
    ],
)
def test_a_validation_is_reused_only_as_long_as_the_rule_of_the_day_allows(
    age: int, at: int, fresh: bool
) -> None:
    statements = [*attempt(6, checked_at=at - age), *(recheck(number, at) for number in range(6))]
    if fresh:
        verify(statements, by=verifier(6), now=at)
    else:
        refused("evidence.too-old", lambda: verify(statements, by=verifier(6), now=at))


@pytest.mark.clause("BR 4.2.2.1")
def test_caa_is_good_for_eight_hours() -> None:
    verify(attempt(checked_at=NOW - 8 * HOUR))
    refused("evidence.caa-too-old", lambda: verify(attempt(checked_at=NOW - 8 * HOUR - 1)))


def test_a_later_caa_recheck_renews_an_older_validation() -> None:
    old = attempt(checked_at=NOW - 20 * DAY)
    verify([*old, *(recheck(number, NOW - 10) for number in range(5))])
    refused("evidence.caa-too-old", lambda: verify(old))


def test_a_recheck_must_meet_the_quorum_by_itself() -> None:
    statements = [*attempt(), *(recheck(number, NOW) for number in range(3))]
    refused("quorum.not-met", lambda: verify(statements))


def test_a_newer_caa_refusal_outweighs_an_older_permission() -> None:
    forbidden = [recheck(number, NOW - 10, Result.FAIL) for number in range(5)]
    refused("evidence.primary", lambda: verify([*attempt(), *forbidden]))


@pytest.mark.row("caa.method")
@pytest.mark.clause("RFC 8657 section 4")
@pytest.mark.must("rfc8657.4.only-the-method")
def test_caa_judged_for_another_method_is_no_permission() -> None:
    old = attempt(checked_at=NOW - 20 * DAY)
    wrong = [recheck(number, NOW - 10, method="dns-01") for number in range(5)]
    refused("evidence.caa-method", lambda: verify([*old, *wrong]))


@pytest.mark.must("rfc8659.3.checked")
def test_a_validation_without_any_caa_check_is_refused() -> None:
    refused("evidence.caa-missing", lambda: verify(attempt(caa=None)))


def test_caa_without_control_is_refused() -> None:
    refused("evidence.missing", lambda: verify([recheck(number, NOW) for number in range(5)]))


@pytest.mark.parametrize(
    ("name", "rules", "code"),
    [
        ("localhost", Rules.PRIVATE, None),
        (NAME, Rules.PRIVATE, "evidence.caa-exempt"),
        ("localhost", Rules.PUBLIC, "evidence.caa-exempt"),
    ],
)
def test_only_a_local_name_under_private_rules_is_exempt_from_caa(
    name: str, rules: Rules, code: str | None
) -> None:
    statements = attempt(name=name, caa=CaaSeen(Result.PASS, exempt="local name", method="http-01"))

    def act() -> None:
        verify(statements, by=verifier(5, rules), names=(name,))

    if code is None:
        act()
    else:
        refused(code, act)


@pytest.mark.parametrize(
    "caa",
    [
        CaaSeen(Result.PASS, ('0 issue "x"',), "", method="http-01"),
        CaaSeen(Result.PASS, (), "acme-shop.com", method="http-01"),
    ],
)
def test_a_caa_statement_that_contradicts_itself_is_refused(caa: CaaSeen) -> None:
    refused("evidence.caa-odd", lambda: verify(attempt(caa=caa)))


def test_a_statement_from_the_future_is_refused_but_a_fast_clock_is_forgiven() -> None:
    verify(attempt(checked_at=NOW + 60))
    refused("evidence.future", lambda: verify(attempt(checked_at=NOW + 61)))


@pytest.mark.row("attacks.rogue-perspective")
def test_a_key_that_is_not_pinned_counts_for_nothing() -> None:
    refused("evidence.unknown-key", lambda: verify(attempt(6), by=verifier(5)))


@pytest.mark.row("attacks.rogue-perspective")
def test_a_perspective_cannot_speak_in_anothers_name() -> None:
    forged = KEYS[1].sign(statement(2))
    request = leaf_request(names=(NAME,), evidence=(*signed([statement(0)]), forged))
    refused("evidence.perspective", lambda: verifier().verify(request, NOW))


def test_a_verifier_without_perspectives_is_not_made() -> None:
    with pytest.raises(ValueError, match="pinned"):
        Verifier({}, Rules.PRIVATE, ())


SIGNED = signed(attempt())


@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, len(SIGNED) - 1),
    field=st.sampled_from([field.name for field in fields(SignedStatement)]),
    position=st.integers(0, 10_000),
    value=st.integers(1, 255),
)
def test_a_change_of_any_octet_of_any_statement_is_refused(
    which: int, field: str, position: int, value: int
) -> None:
    octets = bytearray(getattr(SIGNED[which], field))
    octets[position % len(octets)] ^= value
    changed = replace(SIGNED[which], **{field: bytes(octets)})
    request = leaf_request(names=(NAME,), evidence=(*SIGNED[:which], changed, *SIGNED[which + 1 :]))
    with pytest.raises(Refused, match=r"evidence\."):
        verifier().verify(request, NOW)


STRANGE: dict[str, list[Any]] = {
    "perspective": ["", "p9", "P0"],
    "name": ["", OTHER, WILDCARD, NAME.upper()],
    "account_url": ["", ACCOUNT + "/"],
    "attempt": ["", "attempt-9"],
    "checked_at": [NOW + 10**6, 0, NOW - 201 * DAY, -1],
    "control": [None, ControlSeen("http-01", NAME, Result.FAIL), ControlSeen("", "", Result.PASS)],
    "caa": [None, CaaSeen(Result.FAIL), CaaSeen(Result.PASS, method="dns-01")],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in STRANGE.items() for value in values]
)
def test_a_primary_that_honestly_says_something_else_is_refused(field: str, value: object) -> None:
    odd = KEYS[0].sign(replace(statement(0), **{field: value}))  # type: ignore[arg-type]
    request = leaf_request(names=(NAME,), evidence=(odd, *SIGNED[1:]))
    with pytest.raises(Refused):
        verifier().verify(request, NOW)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(0, 4)))
def test_any_subset_passes_exactly_when_the_primary_and_three_remotes_are_in_it(which: set[int]) -> None:
    statements = [statement(number) for number in sorted(which)]
    if 0 in which and len(which) >= 4:
        verify(statements)
    else:
        with pytest.raises(Refused):
            verify(statements)
