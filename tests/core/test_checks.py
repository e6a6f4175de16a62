from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core import checks
from core.configuration import load
from core.corroboration import EARTH_KM, kilometres
from core.errors import ConfigurationError
from core.settings import Perspective, Rules, Settings

TODAY = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp())
PUBLIC = (
    "ca.rules=public",
    "ca.local_names=[]",
    "validation.resolvers=127.0.0.1:53",
)
REPORTS = ("repository.report_url=https://pki.ca.example", "acme.trusted_proxies=127.0.0.1")
PRODUCTION = ("deployment.production=true", *REPORTS)
PLACES = (
    Perspective("tyo", "APNIC", 35.7, 139.8),
    Perspective("nyc", "ARIN", 40.7, -74.0),
    Perspective("ams", "RIPE NCC", 52.4, 4.9),
    Perspective("sao", "LACNIC", -23.6, -46.6),
    Perspective("syd", "APNIC", -33.9, 151.2),
    Perspective("jnb", "AFRINIC", -26.2, 28.0),
)


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("ca.country=Japan", "two capital letters"),
        ("ca.country=jp", "two capital letters"),
        ("ca.organization=", "1 to 64"),
        ("ca.caa_identities=CA.example", "lower case"),
        ("ca.policy_oid=tls", "numbers with dots"),
        ("deployment.mode=scale", "embedded"),
        ("validation.methods=http-1", "http-01"),
        ("validation.methods=[]", "http-01 or dns-01"),
        ('validation.methods=["http-01","http-01"]', "twice"),
        ("mpic.zone=foo..bar", "mpic.ca.example"),
        ("mpic.gateway=foo", "http://127.0.0.1:8000"),
        ("acme.base_url=http://localhost:14000", "https://"),
        ("acme.base_url=https://localhost:14000/", "last slash"),
        ("acme.base_url=https://localhost:14000/acme", "without a path"),
        ("acme.base_url=https://localhost:99999", "host:port"),
        ("acme.base_url=https://me@localhost", "without a path"),
        ("acme.base_url=https://", "host"),
        ("repository.base_url=https://localhost:14080", "http://"),
        ("repository.report_url=http://pki.ca.example", "https://"),
        ("repository.report_url=https://pki.ca.example/report", "without a path"),
        ("repository.report_url=https://pki.ca.example", "acme.trusted_proxies"),
        ("repository.manifest_pins=manifest-1", "repository key"),
        (f"repository.manifest_pins={'x' * 43},{'y' * 43}", "names 1"),
        ("repository.report_personal_data=86399", "a day"),
        ("repository.report_personal_data=63072001", "730 days"),
        ("acme.listen=14000", "host:port"),
        ("acme.listen=localhost:99999", "host:port"),
        ("acme.listen=::1:14000", "IPv6"),
        ("metrics.listen=127.0.0.1:14000", "acme.listen listens there already"),
        ("acme.tls_names=[]", "base_url"),
        ("validation.http_port=0", "above zero"),
        ("validation.http_port=70000", "65535"),
        ("limits.body_octets=-1", "above zero"),
        ("profiles.tlsserver.validity=0", "above zero"),
        ("validation.perspectives=[]", "primary"),
        ('validation.perspectives=[{code="a"},{code="a"}]', "its own"),
        ('validation.perspectives=[{code="../a"}]', "a-z"),
        ("status.ocsp_refresh=345600", "shorter"),
        ("status.ocsp_max_age=345600", "shorter"),
        ("status.ocsp_certificates=21", "20 at most"),
        ("status.crl_refresh=604800", "shorter"),
        ("vault.responder_lifetime=2592001", "30 days"),
        ("acme.authorization_reuse=9999999", "authorization_lifetime"),
        ("profiles.A_B.validity=1", "a-z"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_its_remedy(override: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(None, [override])
    assert override.split("=")[0].split(".")[0] in str(raised.value)
    assert remedy in str(raised.value)


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ('ca.local_names=["localhost"]', "BR 4.2.2"),
        ("validation.resolvers=[]", "DNSSEC"),
        ("ca.caa_identities=[]", "CAA"),
        ("status.ocsp_refresh=345599", "BR 4.9.10"),
    ],
)
def test_public_rules_ask_for_more(override: str, remedy: str) -> None:
    load(None, PUBLIC)
    with pytest.raises(ConfigurationError, match=remedy):
        load(None, [*PUBLIC, override])


def test_production_has_the_pin_in_no_file_and_a_public_one_reaches_public_addresses_only() -> None:
    with pytest.raises(ConfigurationError, match=r"vault\.pin_file"):
        load(None, [*PRODUCTION, "vault.pin_file=/run/secrets/pin"])
    load(None, [*PRODUCTION, "validation.allowed_networks=10.0.0.0/8"])
    with pytest.raises(ConfigurationError, match="allowed_networks"):
        load(None, [*PUBLIC, *PRODUCTION, *CT, "validation.allowed_networks=10.0.0.0/8"])


@pytest.mark.parametrize("key", ["allowed_networks", "barred_networks"])
@pytest.mark.parametrize("written", ["10.1.2.3/8", "office", "10.0.0.0/40"])
def test_a_network_that_cannot_be_read_is_refused_with_an_example(key: str, written: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"validation\.{key}.*fd00:1::/48"):
        load(None, [f"validation.{key}={written}"])


@pytest.mark.clause("RFC 8555 section 10.4")
@pytest.mark.parametrize("network", ["127.0.0.0/8", "0.0.0.0/0", "169.254.0.0/16", "::1/128", "fe80::/64"])
def test_in_production_no_setting_opens_this_machine_or_its_metadata_service(network: str) -> None:
    load(None, [f"validation.allowed_networks={network}"])
    with pytest.raises(ConfigurationError, match=r"allowed_networks.*narrow it"):
        load(None, [*PRODUCTION, f"validation.allowed_networks={network}"])


@pytest.mark.clause("BR 3.2.2.4.19", "BR 3.2.2.4.20")
@pytest.mark.must("rfc8737.3.port-443", "rfc8555.8.3.port-80")
@pytest.mark.parametrize("port", ["http_port", "https_port", "tls_alpn_port"])
def test_a_public_ca_in_production_validates_at_the_ports_of_the_rules(port: str) -> None:
    production = [*PUBLIC, *CT, SHOWN, *PRODUCTION, *LISTS]
    load(None, production)
    with pytest.raises(ConfigurationError, match=rf"validation\.{port} = 8080: BR"):
        load(None, [*production, f"validation.{port}=8080"])


LISTS = ["ca.blocklist=b.dat", "ca.high_risk=h.txt", "ca.practice=p.toml"]
SHOWN = "validation.resolver_config=/etc/unbound/unbound.conf"
CT = ["ct.mode=on", "ct.log_list=l.json", "ct.log_list_signature=l.sig", "ct.log_list_key=l.pem"]


@pytest.mark.clause("Chrome CT policy")
def test_a_public_ca_in_production_has_ct_and_a_signed_log_list() -> None:
    production = [*PUBLIC, *PRODUCTION, *LISTS, SHOWN]
    load(None, [*production, *CT])
    with pytest.raises(ConfigurationError, match=r"ct\.mode = off"):
        load(None, production)
    with pytest.raises(ConfigurationError, match=r"ct\.log_list_key"):
        load(None, [*production, "ct.mode=on", "ct.log_list=l.json"])


def test_production_takes_reports_by_tls_alone() -> None:
    with pytest.raises(ConfigurationError, match=r"repository\.report_url.*trusted_proxies"):
        load(None, ["deployment.production=true"])


@pytest.mark.clause("BR 6.1.1.3")
def test_a_public_ca_in_production_has_a_list_of_bad_keys() -> None:
    load(None, [*PRODUCTION])
    with pytest.raises(ConfigurationError, match=r"ca\.blocklist"):
        load(None, [*PUBLIC, *CT, SHOWN, *PRODUCTION])


@pytest.mark.clause("BR 4.2.1")
def test_a_public_ca_in_production_has_a_list_of_high_risk_names() -> None:
    with pytest.raises(ConfigurationError, match=r"ca\.high_risk.*people"):
        load(None, [*PUBLIC, *CT, SHOWN, *PRODUCTION, "ca.blocklist=b.dat"])


@pytest.mark.clause("BR 2.2")
def test_a_public_ca_in_production_states_its_own_practice() -> None:
    with pytest.raises(ConfigurationError, match=r"ca\.practice.*premises, people"):
        load(None, [*PUBLIC, *CT, SHOWN, *PRODUCTION, *LISTS[:2]])


@pytest.mark.row("dns.no-loosening")
@pytest.mark.clause("BR 3.2.2.8.1")
def test_a_public_ca_in_production_shows_how_its_resolver_is_configured() -> None:
    production = [*PUBLIC, *CT, *PRODUCTION, *LISTS]
    with pytest.raises(ConfigurationError, match=r"validation\.resolver_config.*validation\.unbound"):
        load(None, production)
    load(None, [*production, SHOWN])
    load(None, [*production, "validation.resolvers=[]", "validation.unbound=/usr/sbin/unbound"])


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["validation.unbound=/u", "validation.resolvers=127.0.0.1"], "empty one of the two"),
        (["validation.unbound_include=/i"], "name that as validation.unbound"),
        ([SHOWN], "name both, or neither"),
        (["validation.canary_bogus=dnssec-failed.org"], "set both"),
        (["validation.canary_bogus=b.example", "validation.canary_signed=Not.A_Name"], "lower case"),
    ],
)
def test_there_is_one_resolver(overrides: list[str], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        load(None, overrides)


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["ct.mode=on"], "name the file of the log list"),
        (["ct.mode=on", "ct.log_list=l.json", "ct.log_list_key=l.pem"], "both or not at all"),
        (["ct.mode=on", "ct.log_list=l.json", "ct.patience=10"], "shorter than ct.patience"),
        (["ct.mode=maybe"], "mode"),
    ],
)
def test_ct_settings_that_cannot_be_used_are_refused(overrides: list[str], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        load(None, overrides)


def public(*perspectives: Perspective, **status: int) -> Settings:
    settings = load(None, PUBLIC)
    return replace(
        settings,
        validation=replace(settings.validation, perspectives=perspectives or PLACES[:5]),
        status=replace(settings.status, **status),
    )


def test_private_rules_have_no_dates() -> None:
    checks.dated(Settings(), 0)


@pytest.mark.row("mpic.numbers-by-date")
@pytest.mark.row("mpic.numbers-by-date")
@pytest.mark.row("mpic.start")
@pytest.mark.clause("BR 3.2.2.9")
def test_the_number_of_perspectives_follows_the_date() -> None:
    december = int(datetime(2026, 12, 15, tzinfo=UTC).timestamp())
    checks.dated(public(*PLACES[:5]), december - 1)
    with pytest.raises(ConfigurationError, match="5 beside the primary"):
        checks.dated(public(*PLACES[:5]), december)
    checks.dated(public(*PLACES), december)
    with pytest.raises(ConfigurationError, match="4 beside the primary"):
        checks.dated(public(*PLACES[:4]), TODAY)


@pytest.mark.row("mpic.distance")
@pytest.mark.row("mpic.distance")
@pytest.mark.clause("BR 3.2.2.9")
def test_perspectives_stand_five_hundred_kilometres_apart() -> None:
    at_equator = 500 / (2 * 3.14159265 * EARTH_KM) * 360
    for degrees, apart in ((at_equator * 1.001, True), (at_equator * 0.998, False)):
        near = Perspective("near", "ARIN", 0.0, degrees)
        settings = public(*PLACES[:4], Perspective("zero", "APNIC", 0.0, 0.0), near)
        if apart:
            checks.dated(settings, TODAY)
        else:
            with pytest.raises(ConfigurationError, match="zero and near"):
                checks.dated(settings, TODAY)


@pytest.mark.row("mpic.distance")
@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ((0.0, 0.0), (0.0, 0.0), 0),
        ((0.0, 0.0), (0.0, 180.0), 20015),
        ((90.0, 0.0), (-90.0, 77.0), 20015),
        ((0.0, 179.9), (0.0, -179.9), 22),
        ((35.68, 139.77), (52.37, 4.90), 9292),  # Tokyo and Amsterdam
        ((40.71, -74.01), (42.36, -71.06), 306),  # New York and Boston
    ],
)
def test_the_distance_is_that_of_the_great_circle(one, other, apart: int) -> None:
    places = [Perspective("x", "ARIN", *place) for place in (one, other)]
    assert kilometres(*places) == pytest.approx(apart, abs=max(1, apart / 300))


@pytest.mark.row("mpic.start")
@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize(
    ("regions", "refused"),
    [
        (["ARIN", "ARIN", "APNIC", "APNIC"], ""),
        (["ARIN", "ARIN", "ARIN", "APNIC"], "3 of 4 remotes in ARIN"),
        (["ARIN", "ARIN", "ARIN", "APNIC", "APNIC"], ""),
        (["ARIN", "ARIN", "ARIN", "ARIN", "APNIC"], "4 of 5 remotes in ARIN"),
        (["ARIN", "ARIN", "ARIN", "APNIC", "APNIC", "LACNIC"], ""),
        (["ARIN", "ARIN", "ARIN", "ARIN", "APNIC", "LACNIC"], "4 of 6 remotes in ARIN"),
    ],
)
def test_a_region_that_could_corroborate_alone_is_refused(regions: list[str], refused: str) -> None:
    places = [
        Perspective(f"p{number}", region, -60.0 + 20 * number, 0.0)
        for number, region in enumerate(["RIPE NCC", *regions])
    ]
    if refused:
        with pytest.raises(ConfigurationError, match=refused):
            checks.dated(public(*places), TODAY)
    else:
        checks.dated(public(*places), TODAY)


@pytest.mark.row("mpic.start")
@pytest.mark.clause("BR 3.2.2.9")
def test_remotes_of_one_region_or_of_none_are_refused() -> None:
    same = [replace(place, region="ARIN") for place in PLACES[1:5]]
    with pytest.raises(ConfigurationError, match="2 RIR regions"):
        checks.dated(public(PLACES[0], *same), TODAY)
    with pytest.raises(ConfigurationError, match="RIPE NCC"):
        checks.dated(public(*PLACES[:4], replace(PLACES[4], region="RIPE")), TODAY)


@pytest.mark.clause("BR 6.3.2")
def test_a_profile_may_not_outlive_the_limit_of_the_day() -> None:
    march = int(datetime(2027, 3, 15, tzinfo=UTC).timestamp())
    settings = replace(
        public(*PLACES), profiles=load(None, ["profiles.tlsserver.validity=17280000"]).profiles
    )
    checks.dated(settings, TODAY)
    with pytest.raises(ConfigurationError, match=r"profiles\.tlsserver\.validity.*100 d"):
        checks.dated(settings, march)


@pytest.mark.parametrize(
    ("status", "clause"),
    [
        ({"ocsp_validity": 8 * 3600 - 1, "ocsp_refresh": 3600}, "BR 4.9.10"),
        ({"ocsp_validity": 10 * 86400 + 1}, "BR 4.9.10"),
        ({"crl_validity": 10 * 86400 + 1}, "BR 4.9.7"),
    ],
)
def test_status_periods_stay_within_the_rules(status: dict[str, int], clause: str) -> None:
    with pytest.raises(ConfigurationError, match=clause):
        checks.dated(public(**status), TODAY)


def test_the_public_example_is_sound() -> None:
    assert public().ca.rules is Rules.PUBLIC
    checks.dated(public(), TODAY)


@pytest.mark.parametrize(
    "preset", sorted((Path(__file__).parents[2] / "deploy").glob("*.toml")), ids=lambda path: path.name
)
def test_every_preset_meets_the_rules_of_today_and_of_the_next_two_years(preset: Path) -> None:
    settings = load(preset)
    checks.dated(settings, TODAY)
    checks.dated(settings, int(datetime(2028, 11, 23, tzinfo=UTC).timestamp()))
