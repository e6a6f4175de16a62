"""acme.sh: no registry that we reach has it, so it runs where ACME_SH=/path/to/acme.sh names a copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.clients.conftest import Binding
from tests.support.ca import RunningCa
from tests.support.clients import HOOK, Ran, addresses, check, days, eventually, load, ocsp, run
from tests.support.hosts import webroot
from tests.support.renewal import must_be_replaced

pytestmark = [
    pytest.mark.long,
    pytest.mark.clause("RFC 8555 section 7"),
    pytest.mark.skipif("ACME_SH" not in os.environ, reason="ACME_SH=/path/to/acme.sh names no copy"),
]

DNS_SCRIPT = f"""dns_world_add() {{ {HOOK} present "$1" "$2"; }}
dns_world_rm() {{ {HOOK} cleanup "$1" "$2"; }}
"""
"""How acme.sh is taught a DNS provider."""


class AcmeSh:
    """acme.sh with its files in a directory of its own."""

    def __init__(self, ca: RunningCa, directory: Path, door: str) -> None:
        self._ca = ca
        self._door = door
        self.directory = directory
        (directory / "dnsapi").mkdir()
        (directory / "dnsapi/dns_world.sh").write_text(DNS_SCRIPT)

    def run(self, *words: str) -> Ran:
        """Any command."""
        base = [os.environ["ACME_SH"], "--home", str(self.directory), "--server", self._ca.directory_url]
        base += ["--ca-bundle", str(self._ca.trust_anchor), "--debug"]
        return run([*base, *words], self.directory, WORLD_DOOR=self._door, HOME=str(self.directory))

    def issue(self, name: str, *how: str) -> tuple[Path, Path]:
        """Leaf and issuer of a certificate for `name`, got as `how` says."""
        self.run("--issue", "--domain", name, *how).ok()
        return self.directory / f"{name}_ecc" / f"{name}.cer", self.directory / f"{name}_ecc" / "ca.cer"


@pytest.fixture
def acme_sh(ca: RunningCa, door: str, tmp_path: Path) -> AcmeSh:
    made = AcmeSh(ca, tmp_path, door)
    made.run("--register-account", "--email", "person@example.com").ok()
    return made


@pytest.mark.client("acme-sh", "http-01", "renew", "revoke", "ari")
@pytest.mark.clause("RFC 8555 section 8.3")
@pytest.mark.clause("RFC 9773 section 5")
def test_acme_sh_renews_when_the_ca_says_so_and_revokes(
    ca: RunningCa, acme_sh: AcmeSh, tmp_path: Path
) -> None:
    name = "acme-sh.example.com"
    with webroot(tmp_path / "www", ca.http_port):
        leaf, issuer = acme_sh.issue(name, "--webroot", str(tmp_path / "www"))
        check(ca, leaf, issuer, name)
        first = load(leaf)
        not_due = acme_sh.run("--renew", "--domain", name, "--ecc")
        assert load(leaf) == first, not_due.output
        must_be_replaced(ca, leaf)
        acme_sh.run("--renew", "--domain", name, "--ecc").ok()
    assert load(leaf).serial_number != first.serial_number
    kept = Path(shutil.copy(leaf, tmp_path)), Path(shutil.copy(issuer, tmp_path))  # it deletes them
    acme_sh.run("--revoke", "--domain", name, "--ecc", "--revoke-reason", "4").ok()
    eventually(lambda: ocsp(ca, *kept) == "revoked", 5, "OCSP says revoked")


@pytest.mark.client("acme-sh", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_acme_sh_gets_a_wildcard_by_dns_01(ca: RunningCa, acme_sh: AcmeSh) -> None:
    files = acme_sh.issue("*.acme-sh.example.com", "--dns", "dns_world", "--dnssleep", "1")
    check(ca, *files, "any.acme-sh.example.com")


@pytest.mark.client("acme-sh", "tls-alpn-01")
@pytest.mark.clause("RFC 8737 section 3")
def test_acme_sh_gets_a_certificate_by_tls_alpn_01(ca: RunningCa, acme_sh: AcmeSh) -> None:
    name = "alpn-acme-sh.example.com"
    how = ("--alpn", "--tlsport", str(ca.tls_alpn_port), "--local-address", "127.0.0.1")
    check(ca, *acme_sh.issue(name, *how), name)


@pytest.mark.client("acme-sh", "ip")
@pytest.mark.clause("RFC 8738 section 3")
def test_acme_sh_gets_a_certificate_for_an_address(ca: RunningCa, acme_sh: AcmeSh, tmp_path: Path) -> None:
    with webroot(tmp_path / "www", ca.http_port):
        leaf, _ = acme_sh.issue("127.0.0.1", "--webroot", str(tmp_path / "www"))
    assert addresses(load(leaf)) == ["127.0.0.1"]


@pytest.mark.client("acme-sh", "profiles")
@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
def test_acme_sh_orders_by_profile(acme_sh: AcmeSh) -> None:
    how = ("--dns", "dns_world", "--dnssleep", "1", "--cert-profile", "shortlived")
    leaf, _ = acme_sh.issue("short-acme-sh.example.com", *how)
    assert days(leaf) == 6


@pytest.mark.client("acme-sh", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_acme_sh_binds_its_account(ca: RunningCa, door: str, tmp_path: Path, binding: Binding) -> None:
    words = ("--register-account", "--eab-kid", binding.kid, "--eab-hmac-key", binding.key)
    AcmeSh(ca, tmp_path, door).run(*words).ok()
