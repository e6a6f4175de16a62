from __future__ import annotations

from dataclasses import replace

import pytest

from core.checks import undated
from core.errors import ConfigurationError
from core.settings import Acme, ExternalAccount, Profile, Settings, SiteSettings, Validation
from core.sites import sites

SITES = SiteSettings(zone="test.localhost", listen=("127.0.0.1:14443",))
ON = Settings(test_sites=SITES, validation=Validation(tls_alpn_port=14443))


@pytest.mark.clause("BR 2.2")
def test_there_is_a_site_for_each_status_and_each_family_of_issuing_cas() -> None:
    found = {each.name for each in sites(ON)}
    assert found == {
        f"{status}-{family}.test.localhost"
        for status in ("valid", "revoked", "expired")
        for family in ("ec", "rsa")
    }


def test_without_a_zone_there_are_none_and_nothing_is_asked_of_the_settings() -> None:
    assert sites(Settings()) == ()
    undated(Settings())


def test_a_url_names_the_port_unless_it_is_that_of_https() -> None:
    assert sites(ON)[0].url == "https://valid-ec.test.localhost:14443/"
    forwarded = replace(ON, test_sites=replace(SITES, forwarded=True), validation=Validation())
    assert sites(forwarded)[0].url == "https://valid-ec.test.localhost/"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (replace(ON, validation=Validation()), "test_sites.forwarded = true"),
        (replace(ON, validation=Validation(tls_alpn_port=14443, methods=("dns-01",))), "add it"),
        (replace(ON, test_sites=replace(SITES, families=("ec", "dsa"))), "ec, rsa"),
        (replace(ON, test_sites=replace(SITES, families=())), "at least one"),
        (replace(ON, test_sites=replace(SITES, families=("ec", "ec"))), "once"),
        (replace(ON, test_sites=replace(SITES, zone="*.test")), "host name"),
        (replace(ON, test_sites=replace(SITES, listen=())), "say where"),
        (replace(ON, test_sites=replace(SITES, profile="shortlived")), "OCSP or CRL: tlsserver, ip"),
        (replace(ON, profiles={"short": Profile(ocsp=False, crl=False)}), "there is none"),
        (replace(ON, acme=Acme(external_account=ExternalAccount.REQUIRED)), "eab add --label test-sites"),
    ],
)
def test_sites_that_could_not_get_their_certificates_are_refused_with_the_remedy(
    settings: Settings, told: str
) -> None:
    undated(ON)
    with pytest.raises(ConfigurationError, match=r"test_sites|validation\.methods") as refused:
        undated(settings)
    assert told in str(refused.value)
