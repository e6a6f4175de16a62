"""core/profile_checks.py: a profile that is looser than the rules is refused with a remedy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core import checks, profile_checks
from core.configuration import load
from core.errors import ConfigurationError
from core.requirements import DAY
from core.settings import Profile, Settings
from core.today import profile_refusal, profile_refusals
from tests.core.test_today import public


def at(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())


def with_profile(profile: Profile) -> Settings:
    return replace(public(6), profiles={"sound": Profile(), "p": profile})


def test_a_ca_offers_a_profile() -> None:
    load(None, ["profiles.ip.offered=false"])
    with pytest.raises(ConfigurationError, match="nobody could order"):
        load(None, [f"profiles.{name}.offered=false" for name in Settings().profiles])


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("profiles.p.identifiers=[]", "list what it may certify"),
        ("profiles.p.identifiers=email", "knows dns, ip"),
        ("profiles.p.identifiers=dns,dns", "listed twice"),
        ("profiles.p.issuers=EC_1", "by their ids"),
        ("profiles.P.validity=1", "a-z, 0-9"),
        ('profiles.p.description="two\\nlines"', "one line"),
        ("profiles.p.description=" + "x" * 301, "one line of 300"),
    ],
)
def test_what_no_profile_can_have_is_refused(override: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^profiles.*{remedy}"):
        load(None, [override])


@pytest.mark.clause("BR 7.1.2.7.10")
def test_public_rules_refuse_a_profile_for_clients_and_private_ones_take_it() -> None:
    assert load(None, ["profiles.p.client_auth=true"]).profiles["p"].client_auth
    with pytest.raises(ConfigurationError, match=r"profiles\.p\.client_auth = true: .*servers only"):
        checks.undated(with_profile(Profile(client_auth=True)))


@pytest.mark.clause("BR 6.3.2")
@pytest.mark.clause("BR 1.6.1")
@pytest.mark.parametrize(
    ("day", "profile", "most"),
    [
        ("2026-11-24", Profile(), 200 * DAY),
        ("2027-03-15", Profile(), 100 * DAY),
        ("2029-03-15", Profile(), 47 * DAY),
        ("2026-11-24", Profile(ocsp=False), 200 * DAY),
        ("2026-11-24", Profile(crl=False), 200 * DAY),
        ("2026-03-14", Profile(crl=False, ocsp=False), 10 * DAY),
        ("2026-11-24", Profile(crl=False, ocsp=False), 7 * DAY),
        ("2026-11-24", Profile(crl=False, ocsp=False, identifiers=("ip",)), 7 * DAY),
    ],
)
def test_public_rules_limit_the_validity_by_date_and_more_without_revocation(
    day: str, profile: Profile, most: int
) -> None:
    longest = with_profile(replace(profile, validity=most))
    profile_checks.dated(longest, "p", at(day))
    too_long = with_profile(replace(profile, validity=most + 1))
    assert f"{most} s" in profile_refusal(too_long, "p", at(day))
    assert f"{most} s" in profile_refusals(too_long, at(day))["p"]
    with pytest.raises(ConfigurationError, match=r"profiles\.p\.validity"):
        profile_checks.dated(too_long, "p", at(day))
    assert profile_refusal(replace(Settings(), profiles=too_long.profiles), "p", at(day)) == ""


def test_the_whole_settings_are_refused_for_any_one_profile_when_a_ca_starts() -> None:
    settings = with_profile(Profile(validity=201 * DAY))
    with pytest.raises(ConfigurationError, match=r"profiles\.p\.validity"):
        checks.dated(settings, at("2026-12-16"))
    checks.dated_for_all(settings, at("2026-12-16"))


def test_the_shipped_profiles_meet_the_public_rules_until_the_limits_fall() -> None:
    settings = replace(public(6), profiles=Settings().profiles)
    checks.dated(settings, at("2026-11-30"))
    checks.dated(settings, at("2029-03-14"))
    assert list(profile_refusals(settings, at("2029-03-15"))) == ["tlsserver"]
