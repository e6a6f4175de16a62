"""Which issuing CA signs, over the years of a rollover."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from core.errors import Refused, TransientError
from core.settings import Profile
from signer.api import IssuerInfo, IssuerState, KeyUse
from signer.succession import LEAST_VALIDITY, Outlook, Validity, choose, family_of, outlook
from signer.vault.templates import ca_certificates
from signer.vault.templates.ca_certificates import Subject
from tests.support.software_ca import DAY, NOW, SERIAL, URLS, private_key, software_ca, spki

YEAR = 365 * DAY
PROFILE = Profile()
"""Ninety days."""


@cache
def issuer(
    id: str,
    begins: int,
    lifetime: int = 3 * YEAR,
    algorithm: str = "ec-p256",
    *,
    client_auth: bool = False,
) -> IssuerInfo:
    """An active issuing CA whose certificate begins at `begins`."""
    ca = software_ca()
    certificate = ca_certificates.issuing(
        ca.root,
        ca.root_key,
        private_key(algorithm, 2).public_key(),
        Subject("JP", "Acme Trust", id),
        SERIAL,
        begins,
        URLS,
        policies=(),
        client_auth=client_auth,
        lifetime=lifetime,
    )
    return IssuerInfo(id, KeyUse.ISSUING, algorithm, certificate, (certificate, ca.root), b"", b"", b"", b"")


def chosen(
    issuers: list[IssuerInfo], now: int, *, profile: Profile = PROFILE, family: str = "ec"
) -> tuple[str, int]:
    """The issuer's id and the seconds of the leaf."""
    wanted = Validity(now - 60, now - 60 + profile.validity - 1)
    choice = choose(issuers, family, profile, wanted, now, exactly=False)
    return choice.issuer.id, choice.not_after - wanted.not_before + 1


OLD, NEW = issuer("ec-1", NOW), issuer("ec-2", NOW + 2 * YEAR)
RSA = issuer("rsa-1", NOW, 3 * YEAR, "rsa-2048")
FULL = PROFILE.validity


def test_a_clients_certificate_is_signed_by_the_newest_issuer_that_may() -> None:
    may, newer = issuer("ec-3", NOW, client_auth=True), issuer("ec-4", NOW + DAY)
    clients = Profile(client_auth=True)
    assert chosen([may, newer], NOW + 2 * DAY) == ("ec-4", FULL)
    assert chosen([may, newer], NOW + 2 * DAY, profile=clients) == ("ec-3", FULL)
    assert outlook([newer], {"clients": clients}, NOW + 2 * DAY) == []
    with pytest.raises(Refused, match=r"issuer\.missing.*clients' certificates.*ceremony"):
        chosen([newer], NOW + 2 * DAY, profile=clients)


def test_a_leaf_is_signed_by_an_issuer_of_its_keys_own_family() -> None:
    assert chosen([RSA, OLD], NOW + DAY, family="ec") == ("ec-1", FULL)
    assert chosen([RSA, OLD], NOW + DAY, family="rsa") == ("rsa-1", FULL)
    assert family_of(spki(private_key("rsa-2048"))) == "rsa"
    assert family_of(spki(private_key("ec-p256"))) == "ec"


@pytest.mark.clause("CPS 6.3.2")
def test_the_newest_issuer_whose_day_has_come_signs_from_that_second_on() -> None:
    since = NOW + 2 * YEAR + 30 * DAY
    new = replace(NEW, since=since)
    assert chosen([OLD, new], since - 1) == ("ec-1", FULL)
    assert chosen([OLD, new], since) == ("ec-2", FULL)


@pytest.mark.parametrize("state", [IssuerState.PLANNED, IssuerState.RETIRED, IssuerState.DESTROYED])
def test_only_an_active_issuer_signs(state: IssuerState) -> None:
    now = NOW + 2 * YEAR + DAY
    assert chosen([OLD, replace(NEW, state=state)], now) == ("ec-1", FULL)
    with pytest.raises(TransientError, match="hold a ceremony"):
        chosen([replace(OLD, state=state)], now)


def test_an_issuer_signs_until_the_last_second_that_was_planned() -> None:
    old = replace(OLD, until=NOW + YEAR)
    assert chosen([old], NOW + YEAR) == ("ec-1", FULL)
    with pytest.raises(TransientError, match="chain roster"):
        chosen([old], NOW + YEAR + 1)


@pytest.mark.clause("BR 6.3.2")
def test_a_leaf_that_would_outlive_the_newest_issuer_is_signed_by_one_that_outlives_it() -> None:
    brief = issuer("ec-brief", NOW + YEAR, 100 * DAY)
    fits = NOW + YEAR + 100 * DAY - FULL + 60
    assert chosen([OLD, brief], fits) == ("ec-brief", FULL)
    assert chosen([OLD, brief], fits + 1) == ("ec-1", FULL)


def test_where_no_issuer_lasts_the_leaf_ends_with_the_one_that_lasts_longest() -> None:
    end = NOW + 3 * YEAR - 1
    assert chosen([OLD], end - 10 * DAY) == ("ec-1", 10 * DAY + 61)
    assert chosen([OLD], end - LEAST_VALIDITY) == ("ec-1", DAY + 61)
    with pytest.raises(TransientError, match="hold a ceremony"):
        chosen([OLD], end - LEAST_VALIDITY + 1)


def test_dates_that_were_asked_for_are_never_changed() -> None:
    now = NOW + 3 * YEAR - 10 * DAY
    wanted = Validity(now, now + FULL - 1)
    with pytest.raises(Refused, match="leave it out") as refused:
        choose([OLD], "ec", PROFILE, wanted, now, exactly=True)
    assert refused.value.code == "issuer.ends"
    with pytest.raises(Refused, match="leave it out") as refused:
        choose([OLD], "ec", PROFILE, Validity(NOW - 1, NOW + DAY), NOW + 60, exactly=True)
    assert refused.value.code == "issuer.begins"


def test_a_profile_may_name_its_issuers() -> None:
    profile = Profile(issuers=("ec-1",))
    assert chosen([OLD, NEW], NOW + 2 * YEAR + DAY, profile=profile) == ("ec-1", FULL)
    with pytest.raises(Refused, match="hold a ceremony") as refused:
        chosen([OLD], NOW + DAY, profile=Profile(issuers=("ec-9",)))
    assert refused.value.code == "issuer.missing"


def test_the_local_service_issuer_never_signs_for_subscribers() -> None:
    with pytest.raises(Refused, match="no issuing CA"):
        chosen([replace(OLD, use=KeyUse.LOCAL_SERVICE)], NOW + DAY)


def test_the_outlook_ends_where_no_issuer_outlives_a_new_leaf() -> None:
    profiles = {"tlsserver": PROFILE}
    last = NOW + 3 * YEAR - FULL
    assert outlook([OLD, RSA], profiles, NOW) == [
        Outlook("rsa", "tlsserver", last),
        Outlook("ec", "tlsserver", last),
    ]
    assert outlook([OLD], profiles, last) == [Outlook("ec", "tlsserver", last)]
    assert outlook([OLD], profiles, last + 1) == [Outlook("ec", "tlsserver", 0)]


def test_the_outlook_reaches_over_a_successor_that_comes_in_time_and_not_over_a_gap() -> None:
    profiles = {"tlsserver": PROFILE}
    in_time = replace(NEW, since=NOW + 3 * YEAR - FULL + 1)
    too_late = replace(NEW, since=NOW + 3 * YEAR - FULL + 2)
    assert outlook([OLD, in_time], profiles, NOW)[0].full_until == NOW + 5 * YEAR - FULL
    assert outlook([OLD, too_late], profiles, NOW)[0].full_until == NOW + 3 * YEAR - FULL
    # A planned one signs only after a further ceremony, which nobody can count on.
    planned = replace(in_time, state=IssuerState.PLANNED)
    assert outlook([OLD, planned], profiles, NOW)[0].full_until == NOW + 3 * YEAR - FULL
