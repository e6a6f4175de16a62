"""dehydrated, as Debian ships it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.conftest import Binding
from tests.clients.hammer import hammered
from tests.support.ca import RunningCa
from tests.support.clients import HOOK, Ran, check, eventually, load, ocsp, program, run
from tests.support.hosts import alpn_responder, webroot

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]


@dataclass(frozen=True, slots=True)
class Dehydrated:
    """dehydrated with its files in a directory of its own."""

    directory: Path
    door: str

    def run(self, *words: str) -> Ran:
        """Any command; must end well."""
        base = [program("dehydrated"), "--config", str(self.directory / "config")]
        return run([*base, *words], self.directory, WORLD_DOOR=self.door).ok()

    def files(self, name: str) -> tuple[Path, Path]:
        """Leaf and issuer."""
        own = self.directory / "certs" / name
        return own / "cert.pem", own / "chain.pem"


@pytest.fixture(scope="module")
def dehydrated(ca: RunningCa, door: str, tmp_path_factory: pytest.TempPathFactory) -> Dehydrated:
    """Registered."""
    return registered(ca, door, tmp_path_factory.mktemp("dehydrated"))


def registered(ca: RunningCa, door: str, directory: Path, *settings: str) -> Dehydrated:
    lines = [
        f'CA="{ca.directory_url}"',
        f'BASEDIR="{directory}"',
        f'WELLKNOWN="{directory}/www/.well-known/acme-challenge"',
        f'CURL_OPTS="--cacert {ca.trust_anchor}"',
        'CONTACT_EMAIL="person@example.com"',
        'KEY_ALGO="prime256v1"',
        "ACCOUNT_KEYSIZE=2048",  # its own choice of 4096 takes seconds
        *settings,
    ]
    (directory / "config").write_text("\n".join(lines) + "\n")
    made = Dehydrated(directory, door)
    made.run("--register", "--accept-terms")
    return made


@pytest.mark.client("dehydrated", "http-01", "renew", "revoke")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_dehydrated_gets_renews_and_revokes_a_certificate_by_http_01(
    ca: RunningCa, dehydrated: Dehydrated
) -> None:
    name = "dehydrated.example.com"
    with webroot(dehydrated.directory / "www", ca.http_port):
        dehydrated.run("--cron", "--domain", name, "--challenge", "http-01")
        first = load(dehydrated.files(name)[0])
        dehydrated.run("--cron", "--domain", name, "--challenge", "http-01", "--force")
    check(ca, *dehydrated.files(name), name)
    assert load(dehydrated.files(name)[0]).serial_number != first.serial_number
    dehydrated.run("--revoke", str(dehydrated.files(name)[0]))
    revoked = (dehydrated.directory / "certs" / name).glob("cert-*.pem-revoked")
    eventually(
        lambda: any(ocsp(ca, each, dehydrated.files(name)[1]) == "revoked" for each in revoked), 5, "revoked"
    )


@pytest.mark.clause("RFC 8555 section 6.5")
def test_a_fresh_nonce_is_never_refused_while_others_hammer(ca: RunningCa, dehydrated: Dehydrated) -> None:
    # dehydrated 0.7 does not try again after badNonce: its run fails.
    name = "hammered-dehydrated.example.com"
    with hammered(ca) as answers, webroot(dehydrated.directory / "www", ca.http_port):
        dehydrated.run("--cron", "--domain", name, "--challenge", "http-01")
        dehydrated.run("--cron", "--domain", name, "--challenge", "http-01", "--force", "--force-validation")
        # What was thrown at the server meanwhile was real work for it: requests with nonces of their own.
        assert answers.count(200) > 100
    assert set(answers) == {200}


@pytest.mark.client("dehydrated", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_dehydrated_gets_a_wildcard_by_dns_01(ca: RunningCa, dehydrated: Dehydrated) -> None:
    base = "wild-dehydrated.example.com"
    words = ["--domain", f"*.{base}", "--alias", "wild", "--challenge", "dns-01", "--hook", str(HOOK)]
    dehydrated.run("--cron", *words)
    check(ca, *dehydrated.files("wild"), f"any.{base}")


@pytest.mark.client("dehydrated", "tls-alpn-01")
@pytest.mark.clause("RFC 8737 section 3")
def test_dehydrated_gets_a_certificate_by_tls_alpn_01(ca: RunningCa, dehydrated: Dehydrated) -> None:
    name = "alpn-dehydrated.example.com"
    with alpn_responder(dehydrated.directory / "alpn-certs", ca.tls_alpn_port):
        dehydrated.run("--cron", "--domain", name, "--challenge", "tls-alpn-01")
    check(ca, *dehydrated.files(name), name)


@pytest.mark.client("dehydrated", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_dehydrated_binds_its_account(ca: RunningCa, door: str, tmp_path: Path, binding: Binding) -> None:
    registered(ca, door, tmp_path, f'EAB_KID="{binding.kid}"', f'EAB_HMAC_KEY="{binding.key}"')
