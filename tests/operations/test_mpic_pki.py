"""The private PKI of the channel: whom its root signs for, and how a key is replaced while it is in use."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from core.clock import SystemClock
from core.errors import ConfigurationError
from core.randomness import SystemRandomness
from operations import mpic_pki
from tests.support.elsewhere import PASSPHRASE, ZONE, Pki
from validation.mpic.mutual_tls import COORDINATOR, IDENTITY, Identity

CHANCE = SystemRandomness()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki") / "root")


def leaf(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / IDENTITY).read_bytes())


@pytest.mark.parametrize(
    ("name", "use"),
    [("tokyo", ExtendedKeyUsageOID.SERVER_AUTH), (COORDINATOR, ExtendedKeyUsageOID.CLIENT_AUTH)],
)
def test_a_certificate_is_for_one_name_one_use_and_thirty_days(
    pki: Pki, tmp_path: Path, name: str, use: x509.ObjectIdentifier
) -> None:
    certificate = leaf(pki.give(tmp_path / name, name))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [each.value for each in names] == [f"{name}.{ZONE}"]
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
    lives = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lives <= timedelta(days=30)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_the_root_may_sign_for_its_zone_alone_and_its_key_is_encrypted(pki: Pki) -> None:
    root = x509.load_pem_x509_certificate((pki.directory / "root.pem").read_bytes())
    constraints = root.extensions.get_extension_for_class(x509.NameConstraints).value
    assert constraints.permitted_subtrees == [x509.DNSName(ZONE)]
    key = (pki.directory / mpic_pki.ROOT_KEY).read_bytes()
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(key, None)
    assert os.stat(pki.directory / mpic_pki.ROOT_KEY).st_mode & 0o077 == 0


def test_a_root_is_never_overwritten(pki: Pki) -> None:
    before = (pki.directory / "root.pem").read_bytes()
    with pytest.raises(ConfigurationError, match="move it away"):
        mpic_pki.make_root(pki.directory, ZONE, PASSPHRASE, SystemClock(), CHANCE)
    assert (pki.directory / "root.pem").read_bytes() == before


def test_a_short_passphrase_makes_no_root(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="twelve"):
        mpic_pki.make_root(tmp_path / "root", ZONE, "short", SystemClock(), CHANCE)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("asked_for", "zone", "given"), [("oslo", ZONE, "tokyo"), ("tokyo", "evil.example", "tokyo")]
)
def test_a_request_for_another_name_is_refused(
    pki: Pki, tmp_path: Path, asked_for: str, zone: str, given: str
) -> None:
    asked = mpic_pki.request(tmp_path / "host", asked_for, zone, CHANCE)
    with pytest.raises(ConfigurationError, match="the request is for"):
        pki.certify(given, asked)


def test_a_wrong_passphrase_and_a_longer_life_are_refused(pki: Pki, tmp_path: Path) -> None:
    asked = mpic_pki.request(tmp_path / "host", "tokyo", ZONE, CHANCE)
    with pytest.raises(ConfigurationError, match="does not open"):
        mpic_pki.certify(pki.directory, "tokyo", asked, "another passphrase", SystemClock(), CHANCE)
    with pytest.raises(ConfigurationError, match="1 to 30 days"):
        mpic_pki.certify(pki.directory, "tokyo", asked, PASSPHRASE, SystemClock(), CHANCE, days=31)


def test_a_new_key_waits_for_its_certificate_while_the_old_one_is_used(pki: Pki, tmp_path: Path) -> None:
    host = pki.give(tmp_path / "host", "tokyo")
    before = leaf(host)
    asked = mpic_pki.request(host, "tokyo", ZONE, CHANCE)
    assert Identity(host, server=True).names == {f"tokyo.{ZONE}"}
    assert leaf(host) == before
    mpic_pki.install(host, pki.certify("tokyo", asked))
    assert leaf(host).public_key() != before.public_key()
    assert not (host / mpic_pki.NEXT_KEY).exists()


def test_a_certificate_for_another_key_is_not_installed(pki: Pki, tmp_path: Path) -> None:
    host = pki.give(tmp_path / "host", "tokyo")
    before = (host / IDENTITY).read_bytes()
    late = pki.certify("tokyo", mpic_pki.request(host, "tokyo", ZONE, CHANCE))
    mpic_pki.request(host, "tokyo", ZONE, CHANCE)
    with pytest.raises(ConfigurationError, match="another key"):
        mpic_pki.install(host, late)
    assert (host / IDENTITY).read_bytes() == before


def test_what_is_no_certificate_and_its_root_is_not_installed(pki: Pki, tmp_path: Path) -> None:
    host = pki.give(tmp_path / "host", "tokyo")
    for answer in (b"", b"text", (host / IDENTITY).read_bytes()):
        with pytest.raises(ConfigurationError, match="the root that signed it"):
            mpic_pki.install(host, answer)


def test_an_identity_that_others_can_read_is_not_used(pki: Pki, tmp_path: Path) -> None:
    host = pki.give(tmp_path / "host", "tokyo")
    (host / IDENTITY).chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        Identity(host, server=True)


def test_renewed_files_that_cannot_be_used_leave_the_old_ones_in_use(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity = Identity(pki.give(tmp_path / "host", "tokyo"), server=True)
    mpic_pki.write(tmp_path / "host" / IDENTITY, b"half a file")
    assert not identity.refresh()
    assert "is not taken" in caplog.text
    assert identity.names == {f"tokyo.{ZONE}"}
