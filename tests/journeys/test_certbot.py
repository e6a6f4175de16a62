"""A subscriber with certbot and a relying party with openssl, from the first order to the revocation."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.ca import RunningCa
from tests.support.clients import Certbot, eventually, load, ocsp, on_crl, verify

CRL_SECONDS = 30
"""More than `status.crl_delay` of the shared CA, on a busy machine."""


@pytest.fixture
def certbot(ca: RunningCa, door: str, tmp_path: Path) -> Certbot:
    return Certbot(ca, tmp_path / "certbot", door)


@pytest.mark.clause("RFC 8555 section 7.4")
def test_certbot_gets_a_certificate_by_http_01_that_openssl_trusts(ca: RunningCa, certbot: Certbot) -> None:
    name = "http.example.com"
    ran = certbot.http01(name)
    assert ran.code == 0, ran.output
    checked = verify(ca, certbot.certificate(name), certbot.chain(name), name)
    assert checked.code == 0, checked.output
    assert ocsp(ca, certbot.certificate(name), certbot.chain(name)) == "good"
    assert not on_crl(ca, load(certbot.certificate(name)), certbot.chain(name))


@pytest.mark.parametrize(("kind", "key"), [("rsa", rsa.RSAPublicKey), ("ecdsa", ec.EllipticCurvePublicKey)])
def test_the_subscribers_key_type_chooses_the_issuer_of_the_same_type(
    certbot: Certbot, kind: str, key: type
) -> None:
    name = f"{kind}.example.com"
    ran = certbot.http01(name, options=("--key-type", kind))
    assert ran.code == 0, ran.output
    assert isinstance(load(certbot.certificate(name)).public_key(), key)
    assert isinstance(load(certbot.chain(name)).public_key(), key)


def test_a_name_that_the_operator_calls_local_needs_no_dns(ca: RunningCa, certbot: Certbot) -> None:
    ran = certbot.http01("service.localhost")
    assert ran.code == 0, ran.output
    assert verify(ca, *_files(certbot, "service.localhost"), "service.localhost").code == 0


@pytest.mark.clause("RFC 8555 section 8.4")
def test_certbot_gets_a_wildcard_with_its_base_name_by_dns_01(ca: RunningCa, certbot: Certbot) -> None:
    ran = certbot.dns01("*.wild.example.com", "wild.example.com")
    assert ran.code == 0, ran.output
    names = load(certbot.certificate("*.wild.example.com")).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert set(names.value.get_values_for_type(x509.DNSName)) == {"*.wild.example.com", "wild.example.com"}
    checked = verify(ca, *_files(certbot, "*.wild.example.com"), "anything.wild.example.com")
    assert checked.code == 0, checked.output


def test_certbot_renews_with_the_same_account_and_gets_a_new_serial(certbot: Certbot) -> None:
    name = "renewed.example.com"
    assert certbot.http01(name).code == 0
    first = load(certbot.certificate(name))
    ran = certbot.renew()
    assert ran.code == 0, ran.output
    second = load(certbot.certificate(name))
    assert second.serial_number != first.serial_number
    assert second.issuer == first.issuer


@pytest.mark.clause("RFC 8555 section 7.6")
def test_a_certificate_revoked_by_its_account_is_revoked_in_ocsp_and_crl(
    ca: RunningCa, certbot: Certbot
) -> None:
    name = "revoked.example.com"
    assert certbot.http01(name).code == 0
    assert ocsp(ca, *_files(certbot, name)) == "good"
    ran = certbot.revoke(name, "--reason", "superseded")
    assert ran.code == 0, ran.output
    # BR 4.9: the answer "revoked" binds at once in OCSP; the CRL follows within its delay.
    eventually(lambda: ocsp(ca, *_files(certbot, name)) == "revoked", 5, "OCSP says revoked")
    leaf = load(certbot.certificate(name))
    eventually(lambda: on_crl(ca, leaf, certbot.chain(name)), CRL_SECONDS, "the serial is on the CRL")


@pytest.mark.clause("RFC 8555 section 7.6")
def test_whoever_holds_the_certificates_key_can_revoke_it_without_the_account(
    ca: RunningCa, certbot: Certbot, tmp_path: Path
) -> None:
    name = "keyholder.example.com"
    assert certbot.http01(name).code == 0
    stranger = Certbot(ca, tmp_path / "stranger")
    ran = stranger.run(
        [
            *("revoke", "--cert-path", str(certbot.certificate(name))),
            *("--key-path", str(certbot.live(name) / "privkey.pem")),
            *("--reason", "keycompromise", "--no-delete-after-revoke"),
        ]
    )
    assert ran.code == 0, ran.output
    eventually(lambda: ocsp(ca, *_files(certbot, name)) == "revoked", 5, "OCSP says revoked")


@pytest.mark.clause("RFC 8659 section 3")
@pytest.mark.parametrize("name", ["caa-deny", "caa-other", "caa-critical", "caa-inherited.caa-deny"])
def test_a_name_whose_caa_does_not_name_us_gets_nothing(certbot: Certbot, name: str) -> None:
    ran = certbot.http01(f"{name}.example.com")
    assert ran.code != 0
    assert "caa" in ran.output.lower()
    assert not certbot.live(f"{name}.example.com").exists()


@pytest.mark.clause("RFC 8659 section 4.2")
def test_a_name_whose_caa_names_us_gets_its_certificate(certbot: Certbot) -> None:
    ran = certbot.http01("caa-ours.example.com")
    assert ran.code == 0, ran.output


@pytest.mark.clause("RFC 8659 section 4.3")
def test_issuewild_governs_wildcards_and_nothing_else(certbot: Certbot) -> None:
    assert certbot.http01("caa-issuewild-deny.example.com").code == 0
    assert certbot.dns01("*.caa-issuewild-deny.example.com").code != 0
    ran = certbot.dns01("*.caa-issuewild-ours.example.com")
    assert ran.code == 0, ran.output
    assert certbot.http01("caa-issuewild-ours.example.com").code != 0


@pytest.mark.clause("RFC 8657 section 4")
def test_caa_can_bind_the_name_to_one_validation_method(certbot: Certbot) -> None:
    assert certbot.http01("caa-dns-only.example.com").code != 0
    ran = certbot.dns01("caa-dns-only.example.com")
    assert ran.code == 0, ran.output


@pytest.mark.clause("RFC 8657 section 3")
def test_caa_that_names_another_account_refuses_ours(certbot: Certbot) -> None:
    ran = certbot.http01("caa-foreign-account.example.com")
    assert ran.code != 0
    assert "caa" in ran.output.lower()


@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.parametrize("zone", ["tampered", "expired", "stripped"])
def test_dns_that_fails_dnssec_is_never_permission(certbot: Certbot, zone: str) -> None:
    ran = certbot.http01(f"www.{zone}-example.com")
    assert ran.code != 0
    assert "dns" in ran.output.lower()


def test_an_unsigned_zone_below_a_proven_insecure_delegation_is_served(certbot: Certbot) -> None:
    ran = certbot.http01("www.insecure-example.com")
    assert ran.code == 0, ran.output


def _files(certbot: Certbot, name: str) -> tuple[Path, Path]:
    return certbot.certificate(name), certbot.chain(name)
