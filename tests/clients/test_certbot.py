"""certbot, the newest of PyPI.  What Debian's older one does is in tests/journeys/test_certbot.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import Binding
from tests.support.ca import RunningCa
from tests.support.clients import Certbot, addresses, check, days, eventually, load, ocsp
from tests.support.renewal import must_be_replaced

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]


@pytest.fixture
def certbot(ca: RunningCa, door: str, tmp_path: Path) -> Certbot:
    return Certbot(ca, tmp_path / "certbot", door, environments.certbot())


@pytest.mark.client("certbot", "http-01", "renew", "revoke")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_certbot_gets_renews_and_revokes_a_certificate_by_http_01(ca: RunningCa, certbot: Certbot) -> None:
    name = "newest-certbot.example.com"
    certbot.http01(name).ok()
    check(ca, certbot.certificate(name), certbot.chain(name), name)
    first = load(certbot.certificate(name))
    certbot.renew().ok()
    assert load(certbot.certificate(name)).serial_number != first.serial_number
    certbot.revoke(name, "--reason", "superseded").ok()
    eventually(lambda: ocsp(ca, certbot.certificate(name), certbot.chain(name)) == "revoked", 5, "revoked")


@pytest.mark.client("certbot", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_certbot_gets_a_wildcard_by_dns_01(ca: RunningCa, certbot: Certbot) -> None:
    name = "*.newest-certbot.example.com"
    certbot.dns01(name).ok()
    check(ca, certbot.certificate(name), certbot.chain(name), "any.newest-certbot.example.com")


@pytest.mark.client("certbot", "ip")
@pytest.mark.clause("RFC 8738 section 3")
def test_certbot_gets_a_certificate_for_an_address(certbot: Certbot) -> None:
    certbot.http01("both-certbot.example.com", options=("--ip-address", "127.0.0.1")).ok()
    assert addresses(load(certbot.certificate("both-certbot.example.com"))) == ["127.0.0.1"]


@pytest.mark.client("certbot", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_certbot_binds_its_account(certbot: Certbot, binding: Binding) -> None:
    options = ("--eab-kid", binding.kid, "--eab-hmac-key", binding.key, "--eab-hmac-alg", "HS384")
    certbot.http01("bound-certbot.example.com", options=options).ok()


@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_certbot_is_told_that_its_key_is_not_one_of_ours(certbot: Certbot, binding_key: Binding) -> None:
    options = ("--eab-kid", binding_key.kid, "--eab-hmac-key", "b" * 43)
    ran = certbot.http01("unbound-certbot.example.com", options=options)
    assert ran.code != 0
    assert "externalAccountBinding" in ran.output or "MAC" in ran.output


@pytest.mark.client("certbot", "ari")
@pytest.mark.clause("RFC 9773 section 4.2")
def test_certbot_renews_by_itself_only_what_the_ca_says_is_due(ca: RunningCa, certbot: Certbot) -> None:
    moved, quiet = "moved-certbot.example.com", "quiet-certbot.example.com"
    for name in (moved, quiet):
        certbot.http01(name).ok()
    before = {name: load(certbot.certificate(name)).serial_number for name in (moved, quiet)}
    must_be_replaced(ca, certbot.certificate(moved))
    certbot.run(["renew", "--no-random-sleep-on-renew"]).ok()
    assert load(certbot.certificate(moved)).serial_number != before[moved]
    assert load(certbot.certificate(quiet)).serial_number == before[quiet]


@pytest.mark.client("certbot", "profiles")
@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
def test_certbot_gets_the_profile_that_it_requires_or_prefers(ca: RunningCa, certbot: Certbot) -> None:
    name = "short-certbot.example.com"
    certbot.http01(name, options=("--required-profile", "shortlived")).ok()
    assert days(certbot.certificate(name)) == 6
    name = "fallback-certbot.example.com"
    certbot.http01(name, options=("--preferred-profile", "there-is-none")).ok()
    assert days(certbot.certificate(name)) == 90
    name = "refused-certbot.example.com"
    ran = certbot.http01(name, options=("--required-profile", "there-is-none"))
    assert ran.code != 0
    assert "there-is-none" in ran.output
