"""operations/alarms/succession.py: the running app follows a new hierarchy and sees an issuer's end come."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.clock import FakeClock
from core.errors import HaltIssuance
from core.settings import Profile, Settings
from operations.alarms.succession import ALARM_EVERY, Succession, alarms, deadlines
from repo_static.store import Store
from signer.api import Description, IssuerState
from signer.succession import Outlook
from tests.support.software_vault import CREATED, DAY, SoftwareVault

NOTICE = Settings().ca.rollover_notice


@pytest.fixture
def told() -> Description:
    return SoftwareVault().description()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(CREATED + DAY)


@pytest.fixture
def followed(tmp_path: Path, told: Description, clock: FakeClock) -> Succession:
    made = Succession(Settings(), Store(tmp_path), clock)
    made.follow(told)
    return made


def first_full_end() -> int:
    """The last second of leaves of full length: the software CA lives for 1095 days."""
    return CREATED + 1095 * DAY - 90 * DAY + 1


def test_a_new_issuer_is_served_and_published_without_a_restart(
    followed: Succession, told: Description, tmp_path: Path
) -> None:
    chains = followed.chains
    new = replace(told.issuers[0], id="ec2")
    told = replace(told, issuers=(*told.issuers, new))
    followed.heed(told)
    assert followed.chains is chains, "handlers hold this very mapping"
    assert chains["ec2"] == chains["ec1"]
    assert (tmp_path / "issuers" / "ec2-chain.pem").exists()
    assert "ec2" in (tmp_path / "index.html").read_text()


@pytest.mark.clause("RFC 8555 section 7.4.2")
def test_no_trust_anchor_stands_in_a_subscribers_chain(followed: Succession, told: Description) -> None:
    (chain,) = followed.chains["ec1"]
    assert [each.subject for each in x509.load_pem_x509_certificates(chain)] == [
        x509.load_der_x509_certificate(told.issuers[0].certificate).subject
    ]


def test_an_issuer_that_was_once_known_keeps_its_chain(followed: Succession, told: Description) -> None:
    told = replace(told, issuers=told.issuers[1:])
    followed.heed(told)
    assert "ec1" in followed.chains


@pytest.mark.clause("CPS 6.3.2")
def test_an_alarm_sounds_in_time_and_once_a_day(
    followed: Succession, told: Description, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    told = replace(told, root_crl=b"")  # it would have ended long before
    with caplog.at_level(logging.WARNING):
        clock.at = first_full_end() - NOTICE - 2
        followed.heed(told)
        assert caplog.messages == []
        clock.at += ALARM_EVERY
        followed.heed(told)
        followed.heed(told)
        assert len(caplog.messages) == 2  # one for each family
        assert "hold a ceremony" in caplog.messages[0]
        clock.at += ALARM_EVERY
        followed.heed(told)
        assert len(caplog.messages) == 4


def test_an_alarm_becomes_critical_in_the_last_quarter_of_the_notice() -> None:
    def level(left: int) -> list[int]:
        found = [Outlook("ec", "tlsserver", 10**9 + left)]
        settings = replace(Settings(), profiles={"tlsserver": Profile()})
        return [level for level, _ in alarms(found, settings, 10**9)]

    assert level(NOTICE) == []
    assert level(NOTICE - 1) == [logging.WARNING]
    assert level(NOTICE // 4) == [logging.WARNING]
    assert level(NOTICE // 4 - 1) == [logging.CRITICAL]
    assert level(-(10**9)) == [logging.CRITICAL]


def test_a_profile_that_no_issuer_serves_is_told_of() -> None:
    settings = replace(Settings(), profiles={"tlsserver": Profile(), "other": Profile(issuers=("ec-9",))})
    found = [Outlook("ec", "tlsserver", 2 * 10**9), Outlook("rsa", "tlsserver", 2 * 10**9)]
    assert alarms(found, settings, 10**9) == [
        (
            logging.CRITICAL,
            "no issuing CA signs under profile other: see its settings issuers and client_auth",
        )
    ]


def test_a_retired_family_is_alarming(followed: Succession, told: Description) -> None:
    retired = [replace(each, state=IssuerState.RETIRED) for each in told.issuers]
    told = replace(told, issuers=tuple(retired))
    followed.heed(told)
    assert followed.chains.keys() == {"ec1", "rsa1", "local1"}


def test_a_certificate_is_given_the_chain_of_the_issuer_that_signed_it(
    followed: Succession, told: Description
) -> None:
    vault = SoftwareVault()
    followed.heed(vault.description())
    for id in ("ec1", "local1"):
        leaf = x509.load_pem_x509_certificate(vault.leaf(id, b"\x41" * 8)).public_bytes(Encoding.DER)
        assert followed.chain_of(leaf) == followed.chains[id][0]
    with pytest.raises(HaltIssuance, match="no issuing CA of ours"):
        followed.chain_of(told.root)


@pytest.mark.clause("BR 4.9.7")
def test_the_roots_crl_is_missed_before_it_ends(told: Description) -> None:
    ends = CREATED + 180 * DAY

    def levels(at: int) -> list[int]:
        return [level for level, _ in deadlines((), told.root_crl, Settings(), at)]

    assert levels(ends - 60 * DAY) == []
    assert levels(ends - 60 * DAY + 1) == [logging.WARNING]
    assert levels(ends - 15 * DAY + 1) == [logging.CRITICAL]


def test_the_ca_of_our_own_servers_is_missed_before_it_ends(told: Description) -> None:
    ends = CREATED + 1095 * DAY
    assert deadlines(told.issuers, b"", Settings(), ends - NOTICE) == []
    ((level, message),) = deadlines(told.issuers, b"", Settings(), ends - NOTICE + 1)
    assert level == logging.WARNING
    assert message.startswith("the CA of our own servers ends on ")
