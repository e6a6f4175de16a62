"""The vault itself holds every dated limit, at the second: no caller's clock, settings or database count."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from core import methods
from core.errors import Refused
from core.evidence import CaaSeen, Result
from core.requirements import DAY, HOUR, TABLE, Limit, limit
from core.settings import Ca, Profile, Rules, Settings
from signer import api
from signer.vault.judgement import dated
from signer.vault.service import PREPARED_LIFETIME
from signer.vault.templates.precertificates import FINAL_WITHIN
from signer.vault.templates.profiles import from_settings
from signer.vault.tokens import algorithms
from tests.signer.vault.judgement.statements import (
    NAME,
    attempt,
    control_seen,
    recheck,
    refused,
    statement,
    verifier,
    verify,
)
from tests.signer.vault.test_service import World, _world, request
from tests.support.software_ca import private_key


def at(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())


SETTINGS = Settings(
    ca=Ca(rules=Rules.PUBLIC),
    profiles={
        "tlsserver": Profile(validity=500 * DAY),
        "short": Profile(validity=500 * DAY, crl=False, ocsp=False),
    },
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = _world(tmp_path, SETTINGS, at("2026-03-14"))
    yield made
    made.journal.close()


async def judged(world: World, now: int, *, accepted: bool, code: str = "", **changes: object) -> None:
    """Whether the vault prepares a leaf at `now`; a refusal leaves the journal as it was."""
    world.clock.at = now
    before = world.journal.sequence
    issuance_id = f"issuance-{now}-{len(world.service._prepared)}"
    wanted = request(**{"not_before": now, "issuance_id": issuance_id} | changes)
    wanted = replace(wanted, not_before=changes.get("not_before", now))  # type: ignore[arg-type]
    if accepted:
        await world.service.prepare(wanted)
        return
    with pytest.raises(Refused) as refusal:
        await world.service.prepare(wanted)
    assert refusal.value.code.startswith(code)
    assert world.journal.sequence == before


@pytest.mark.clause("BR 6.3.2")
@pytest.mark.parametrize(
    ("now", "days"),
    [
        (at("2026-03-15") - 1, 398),
        (at("2026-03-15"), 200),
        (at("2027-03-15") - 1, 200),
        (at("2027-03-15"), 100),
        (at("2029-03-15") - 1, 100),
        (at("2029-03-15"), 47),
    ],
)
async def test_a_validity_is_counted_with_both_its_ends(world: World, now: int, days: int) -> None:
    for seconds, accepted in ((days * DAY, True), (days * DAY + 1, False)):
        not_after = now + seconds - 1
        await judged(world, now, accepted=accepted, code="profile.validity", not_after=not_after)


@pytest.mark.clause("BR 6.3.2")
async def test_what_was_judged_before_a_rule_began_is_not_signed_under_it(world: World) -> None:
    begins = at("2027-03-15")
    for signs_at, accepted in ((begins - 1, True), (begins, False)):
        now = begins - 2
        world.clock.at = now
        wanted = request(issuance_id=f"issuance-{signs_at}")
        wanted = replace(wanted, not_before=now, not_after=now + 200 * DAY - 1)
        prepared = await world.service.prepare(wanted)
        world.clock.at = signs_at
        before = world.journal.sequence
        if accepted:
            await world.service.issue(api.IssueRequest(prepared.token))
        else:
            with pytest.raises(Refused, match=r"token\.unknown"):
                await world.service.issue(api.IssueRequest(prepared.token))
            assert world.journal.sequence == before
        world.clock.at = now


@pytest.mark.clause("BR 7.1.2.11.2")
@pytest.mark.parametrize(
    ("now", "days"), [(at("2026-03-15") - 1, 10), (at("2026-03-15"), 7), (at("2027-03-15"), 7)]
)
async def test_only_a_short_lived_certificate_goes_without_crl_and_ocsp(
    world: World, now: int, days: int
) -> None:
    for seconds, accepted in ((days * DAY, True), (days * DAY + 1, False)):
        not_after = now + seconds - 1
        await judged(world, now, accepted=accepted, code="dated.short", not_after=not_after, profile="short")


@pytest.mark.clause("BR 7.1.2.7")
@pytest.mark.parametrize("sign", [1, -1])
async def test_a_certificate_begins_within_two_days_of_its_signing(world: World, sign: int) -> None:
    now = at("2026-11-24")
    for skew, accepted in ((48 * HOUR, True), (48 * HOUR + 1, False)):
        begins = now + sign * skew
        changes = {"not_before": begins, "not_after": begins + 90 * DAY - 1}
        await judged(world, now, accepted=accepted, code="", **changes)


@pytest.mark.clause("BR 4.2.2")
@pytest.mark.parametrize("name", ["4.3.2.1.in-addr.arpa", "*.ip6.arpa", "in-addr.arpa"])
async def test_names_of_reverse_zones_ended(world: World, name: str) -> None:
    begins = at("2026-03-15")
    for now, accepted in ((begins - 1, True), (begins, False)):
        await judged(
            world,
            now,
            accepted=accepted,
            code="dated.reverse",
            not_after=now + 9 * DAY,
            names=(name,),
        )


@pytest.mark.clause("BR 4.2.2", "BR 7.1.2.7")
def test_a_precertificate_is_judged_by_the_rules_of_its_certificate_too() -> None:
    begins, profile = at("2026-03-15"), from_settings(SETTINGS)["tlsserver"]
    ours = request(names=("4.3.2.1.in-addr.arpa",), not_before=begins - 60)
    dated.must_suit_leaf(ours, profile, begins - 60, begins - 1)
    with pytest.raises(Refused, match=r"dated\.reverse-zone"):
        dated.must_suit_leaf(ours, profile, begins - 60, begins)
    old = request(not_before=begins - 48 * HOUR)
    dated.must_suit_leaf(old, profile, begins - 1, begins)
    with pytest.raises(Refused, match=r"dated\.not-before"):
        dated.must_suit_leaf(old, profile, begins - 1, begins + 1)


@pytest.mark.clause("BR 7.1.3.2.1")
def test_no_signature_of_ours_is_made_with_sha1_before_or_after_it_was_forbidden() -> None:
    assert not limit(Limit.SHA1_SIGNATURES, at("2026-09-15"))
    for name in ("rsa-2048", "rsa-3072", "ec-p256", "ec-p384", "ec-p521"):
        used = algorithms.for_key(private_key(name).public_key()).hash
        assert isinstance(used, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)


@pytest.mark.clause("BR 4.9.10")
async def test_an_ocsp_answer_is_valid_for_ten_days_at_most() -> None:
    now = at("2026-11-24")
    wanted = api.OcspRequest("ec-p256", b"\x01" * 16, "sha1", now, now + 10 * DAY - 1, None, None)
    dated.must_suit_ocsp(wanted, now)
    with pytest.raises(Refused, match=r"dated\.ocsp-validity"):
        dated.must_suit_ocsp(replace(wanted, next_update=now + 10 * DAY), now)


@pytest.mark.clause("BR 7.2.1")
async def test_a_crl_is_valid_for_ten_days_at_most(world: World) -> None:
    now = world.clock.at
    wanted = api.CrlRequest("ec-p256", 0, 1, now, now + 10 * DAY, ())
    dated.must_suit_crl(wanted, now)
    with pytest.raises(Refused, match=r"dated\.crl-validity"):
        await world.service.status.sign_crl(replace(wanted, next_update=now + 10 * DAY + 1))
    assert world.journal.sequence == 0


@pytest.mark.clause("BR 4.2.1")
@pytest.mark.parametrize(
    ("now", "days"),
    [
        (at("2026-03-15") - 1, 398),
        (at("2026-03-15"), 200),
        (at("2027-03-15") - 1, 200),
        (at("2027-03-15"), 100),
        (at("2029-03-15") - 1, 100),
        (at("2029-03-15"), 10),
    ],
)
@pytest.mark.parametrize("method", ["http-01", "dns-01"])
def test_a_validation_is_reused_as_long_as_the_day_of_signing_allows(
    now: int, days: int, method: str
) -> None:
    for age, accepted in ((days * DAY, True), (days * DAY + 1, False)):
        if now - age < at("2025-03-15"):
            continue  # before corroboration was a rule no statement existed
        _evidence(now, age, method, "evidence.too-old", accepted=accepted)


@pytest.mark.clause("BR 7.1.2.7.10")
async def test_the_vault_itself_certifies_no_client_under_public_rules(tmp_path: Path) -> None:
    profiles = {"tlsserver": Profile(client_auth=True)}
    world = _world(tmp_path, replace(SETTINGS, profiles=profiles), at("2026-11-24"))
    # Not even were the hierarchy such that its issuers could.
    by = world.service._issuers["ec-p256"]
    world.service._issuers["ec-p256"] = replace(by, issuer=replace(by.issuer, client_auth=True))  # type: ignore[index]
    await judged(world, at("2026-11-24"), accepted=False, code="dated.client-auth")
    world.journal.close()


@pytest.mark.row("methods.ip")
@pytest.mark.clause("BR 4.2.2")
@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("9.9.9.9", True),
        ("2620:fe::fe", True),
        *((each, False) for each in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1")),
        *((each, False) for each in ("192.0.2.1", "2001:db8::1", "::1", "fd00::1", "ff0e::1")),
    ],
)
def test_only_public_addresses_are_certified_under_public_rules(address: str, public: bool) -> None:
    now = at("2026-11-24")
    wanted = request(not_before=now, names=(address,))
    profile = from_settings(SETTINGS)["tlsserver"]
    if public:
        dated.must_suit_leaf(wanted, profile, now, now)
        return
    with pytest.raises(Refused) as refusal:
        dated.must_suit_leaf(wanted, profile, now, now)
    assert refusal.value.code == "dated.special-purpose"


@pytest.mark.row("limits.reuse")
@pytest.mark.clause("BR 3.2.2.4.22")
@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(30 * DAY, 10 * DAY), (10 * DAY, 10 * DAY), (DAY, DAY), (HOUR, 2 * HOUR), (60, 2 * HOUR), (0, 2 * HOUR)],
)
def test_a_persistent_record_is_believed_for_its_ttl_and_ten_days_at_most(ttl: int, seconds: int) -> None:
    now = at("2026-11-24")
    for age, accepted in ((seconds, True), (seconds + 1, False)):
        _evidence(now, age, "dns-persist-01", "evidence.too-old", accepted=accepted, ttl=ttl)


@pytest.mark.clause("BR 3.2.2.4.22")
def test_the_shortest_ttl_that_a_perspective_saw_counts() -> None:
    now = at("2026-11-24")
    method = "dns-persist-01"
    long, short = (
        attempt(
            6,
            method=method,
            checked_at=now - 2 * HOUR - 1,
            control=replace(control_seen(method, NAME), ttl=ttl),
        )
        for ttl in (DAY, 60)
    )
    fresh = [recheck(number, now - 5, method=method) for number in range(6)]
    _verified([*long, *fresh], now)()
    refused("evidence.too-old", _verified([*long[:5], short[5], *fresh], now))


def test_what_an_authorization_leaves_for_issuance_is_enough_for_a_precertificate_and_its_certificate() -> (
    None
):
    # Under CT the vault judges evidence for the moment at which the certificate is signed at the latest.
    assert PREPARED_LIFETIME + FINAL_WITHIN <= methods.ISSUANCE


@pytest.mark.clause("BR 4.2.2.1")
def test_caa_is_believed_for_eight_hours() -> None:
    now = at("2026-11-24")
    for age, accepted in ((8 * HOUR, True), (8 * HOUR + 1, False)):
        act = _verified(attempt(6, checked_at=now - age), now)
        act() if accepted else refused("evidence.caa-too-old", act)


@pytest.mark.clause("RFC 8657 section 4")
@pytest.mark.parametrize("now", [at("2027-03-15") - 1, at("2027-03-15")])
def test_the_parameters_of_caa_bind_before_they_must(now: int) -> None:
    wrong = CaaSeen(Result.PASS, ('0 issue "ca.example"',), "acme-shop.com", 300, method="dns-01")
    refused("evidence.caa-method", _verified(attempt(6, checked_at=now, caa=wrong), now))


@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize(
    ("now", "least"),
    [
        (at("2026-03-15") - 1, 2),
        (at("2026-03-15"), 3),
        (at("2026-06-15") - 1, 3),
        (at("2026-06-15"), 4),
        (at("2026-12-15") - 1, 4),
        (at("2026-12-15"), 5),
    ],
)
def test_so_many_remote_perspectives_must_be_pinned(now: int, least: int) -> None:
    verify(attempt(least + 1, checked_at=now), by=verifier(least + 1), now=now)
    too_few = attempt(least, checked_at=now)
    refused("quorum.too-few", lambda: verify(too_few, by=verifier(least), now=now))


@pytest.mark.clause("BR 3.2.2.9")
def test_two_regions_must_agree_from_their_day_on() -> None:
    begins = at("2026-03-15")
    # p1 and p4 lie in ARIN, p2 in RIPE NCC: without p2 one region is left.
    for now, accepted in ((begins - 1, True), (begins, False)):
        statements = [statement(0, checked_at=now), statement(1, checked_at=now)]
        if accepted:
            verify(statements, by=verifier(3), now=now)
        else:
            refused("quorum.too-few", lambda: verify(statements, by=verifier(3), now=now))  # noqa: B023


def test_every_limit_that_concerns_the_vault_is_tested_here() -> None:
    elsewhere = {
        Limit.TOKEN_LIFETIME: "the settings: a token is no older than its order",
        Limit.PERSPECTIVE_DISTANCE: "the settings, and the ceremony that pins perspectives",
        Limit.OCSP_VALIDITY_LEAST: "the settings",
        Limit.CRL_REFRESH: "the settings: the vault makes CRLs when it is asked",
        Limit.CRL_REFRESH_WITHOUT_OCSP: "the settings",
        Limit.CRL_AFTER_REVOCATION: "the settings",
        Limit.RESPONDER_VALIDITY: "tests/signer/vault/sealed/test_lifetimes.py and test_responders.py",
        Limit.SERIAL_BITS: "tests/signer/vault/templates/test_profiles.py",
        Limit.RSA_BITS: "tests/core/test_public_keys.py",
        Limit.CA_KEY_LIFETIME: "tests/signer/vault/sealed/test_lifetimes.py",
        Limit.CA_BACKDATE: "tests/signer/vault/sealed/test_lifetimes.py",
        Limit.ROOT_VALIDITY_LEAST: "tests/signer/vault/sealed/test_lifetimes.py",
        Limit.ROOT_VALIDITY_MOST: "tests/signer/vault/sealed/test_lifetimes.py",
        Limit.SCTS: "tests/signer/vault/templates/test_precertificates.py",
        Limit.SCTS_VALIDITY: "tests/signer/vault/templates/test_precertificates.py",
        Limit.SCTS_LONG: "tests/signer/vault/templates/test_precertificates.py",
        Limit.SCT_OPERATORS: "tests/signer/ct",
        Limit.LOG_LIST_AGE: "tests/signer/ct",
    }
    tested = {
        Limit.LEAF_VALIDITY,
        Limit.SHORT_LIVED_VALIDITY,
        Limit.NOT_BEFORE_SKEW,
        Limit.VALIDATION_REUSE,
        Limit.PERSIST_REUSE,
        Limit.CAA_REUSE,
        Limit.REMOTE_PERSPECTIVES,
        Limit.REGIONS,
        Limit.OCSP_VALIDITY_MOST,
        Limit.CRL_VALIDITY,
        Limit.REVERSE_ZONE_NAMES,
        Limit.SHA1_SIGNATURES,
        Limit.CAA_PARAMETERS,
    }
    assert set(TABLE) == tested | set(elsewhere)
    assert not tested & set(elsewhere)


def _evidence(now: int, age: int, method: str, code: str, *, accepted: bool, ttl: int = 0) -> None:
    control = replace(control_seen(method, NAME), ttl=ttl)
    caa = CaaSeen(Result.PASS, method=method)
    old = attempt(6, method=method, checked_at=now - age, control=control, caa=caa)
    act = _verified([*old, *(recheck(each, now, method=method) for each in range(6))], now)
    act() if accepted else refused(code, act)


def _verified(statements: list[object], now: int) -> Callable[[], None]:
    return lambda: verify(statements, by=verifier(6), now=now)  # type: ignore[arg-type]
