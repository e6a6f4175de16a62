"""Apache's mod_md, as Debian ships it: it gets its certificates by itself, and takes them at a reload."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients.conftest import Binding
from tests.support.ca import RunningCa
from tests.support.clients import HOOK, days, eventually, program, run
from tests.support.hosts import running, shown
from tests.support.renewal import must_be_replaced
from tests.world.addresses import free_port

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]

APACHE_SECONDS = 30
MODULES = Path("/usr/lib/apache2/modules")
USER = "www-data"
"""Whom Apache, started as root, becomes: it serves nothing as root."""
LOADED = ("mpm_event", "authz_core", "ssl", "md")


class Apache:
    """A site of one name, by HTTPS."""

    def __init__(self, ca: RunningCa, directory: Path, door: str, name: str, *directives: str) -> None:
        self._ca = ca
        self._door = door
        self._name = name
        self.directory = directory
        self.https = free_port()
        if "MDCAChallenges tls-alpn-01" in directives:
            self.https = ca.tls_alpn_port
        self.configure(*directives)

    def configure(self, *directives: str) -> None:
        """Write its configuration; `directives` are those of mod_md besides the usual."""
        root = self.directory
        lines = [
            f"ServerRoot {root}",
            f"PidFile {root}/httpd.pid",
            f"ErrorLog {root}/error.log",
            "LogLevel warn md:debug",
            f"ServerName {self._name}",
            f"Mutex file:{root} default",
            *(f"LoadModule {each}_module {MODULES}/mod_{each}.so" for each in LOADED),
            f"Listen 127.0.0.1:{self._ca.http_port}",
            f"Listen 127.0.0.1:{self.https}",
            f"MDCertificateAuthority {self._ca.directory_url}",
            f"MDCACertificateFile {shutil.copy(self._ca.trust_anchor, root)}",
            "MDCertificateAgreement accepted",
            "MDContactEmail person@example.com",
            "MDPrivateKeys P-256",
            f"MDStoreDir {root}/md",
            f"MDPortMap http:{self._ca.http_port} https:{self.https}",
            f"MDomain {self._name}",
            "MDInitialDelay 0s",
            *directives,
            f"<VirtualHost 127.0.0.1:{self.https}>",
            f"ServerName {self._name}",
            "SSLEngine on",
            "Protocols http/1.1 acme-tls/1",
            "</VirtualHost>",
        ]
        if os.geteuid() == 0:
            lines.insert(0, f"User {USER}\nGroup {USER}")
        (root / "httpd.conf").write_text("\n".join(lines) + "\n")

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While it runs."""
        words = [program("apache2"), "-f", str(self.directory / "httpd.conf")]
        run([*words, "-t"], self.directory).ok()
        environment = {"WORLD_DOOR": self._door, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        try:
            with running([*words, "-D", "FOREGROUND"], self.directory, **environment):
                yield
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self.directory / 'error.log').read_text()[-6000:]}") from error

    def leaf(self) -> bytes | None:
        """The certificate that it shows, when it is one that the root vouches for."""
        return shown(self.https, self._name, self._ca.trust_anchor)

    def renewed(self) -> None:
        """Wait for a certificate that lies ready, and take it by a reload."""
        eventually(self._has_staged, APACHE_SECONDS, "mod_md has a certificate ready")
        before = self.leaf()
        self.reload()
        eventually(lambda: self.leaf() not in (None, before), APACHE_SECONDS, "Apache serves our certificate")

    def reload(self) -> None:
        """`apachectl graceful`."""
        os.kill(int((self.directory / "httpd.pid").read_text()), signal.SIGUSR1)

    def _has_staged(self) -> bool:
        job = self.directory / "md" / "staging" / self._name / "job.json"
        try:
            return bool(json.loads(job.read_text()).get("finished"))
        except (OSError, ValueError):
            return False  # not yet, or half written


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the server's own user may go, unlike the directories of tests."""
    with TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        if os.geteuid() == 0:
            shutil.chown(made, USER, USER)
        yield Path(made)


@pytest.mark.client("mod_md", "http-01", "renew")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_apache_serves_https_with_a_certificate_it_got_by_itself_and_renews_it(
    ca: RunningCa, door: str, directory: Path
) -> None:
    apache = Apache(ca, directory, door, "apache.example.com", "MDCAChallenges http-01")
    with apache.serving():
        apache.renewed()
        apache.configure("MDCAChallenges http-01", "MDRenewWindow 3650d")
        apache.reload()
        apache.renewed()


@pytest.mark.client("mod_md", "tls-alpn-01")
@pytest.mark.clause("RFC 8737 section 3")
def test_apache_gets_a_certificate_by_tls_alpn_01_on_the_port_that_it_serves(
    ca: RunningCa, door: str, directory: Path
) -> None:
    apache = Apache(ca, directory, door, "alpn-apache.example.com", "MDCAChallenges tls-alpn-01")
    with apache.serving():
        apache.renewed()


@pytest.mark.client("mod_md", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_apache_gets_a_certificate_by_dns_01(ca: RunningCa, door: str, directory: Path) -> None:
    hook = shutil.copy(HOOK, directory)
    directives = ("MDCAChallenges dns-01", f"MDChallengeDns01 {hook}")
    apache = Apache(ca, directory, door, "dns-apache.example.com", *directives)
    with apache.serving():
        apache.renewed()


@pytest.mark.client("mod_md", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_apache_binds_its_account(ca: RunningCa, door: str, directory: Path, binding: Binding) -> None:
    directives = ("MDCAChallenges http-01", f"MDExternalAccountBinding {binding.kid} {binding.key}")
    apache = Apache(ca, directory, door, "bound-apache.example.com", *directives)
    with apache.serving():
        apache.renewed()


@pytest.mark.client("mod_md", "ari")
@pytest.mark.clause("RFC 9773 section 4.2")
def test_apache_renews_when_the_ca_says_so(ca: RunningCa, door: str, directory: Path) -> None:
    apache = Apache(ca, directory, door, "moved-apache.example.com", "MDCAChallenges http-01")
    with apache.serving():
        apache.renewed()
        (certificate,) = (directory / "md/domains/moved-apache.example.com").glob("pubcert*.pem")
        must_be_replaced(ca, certificate)
        apache.reload()
        apache.renewed()


@pytest.mark.client("mod_md", "profiles")
@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
def test_apache_orders_by_profile(ca: RunningCa, door: str, directory: Path) -> None:
    directives = ("MDCAChallenges http-01", "MDProfile shortlived", "MDProfileMandatory on")
    apache = Apache(ca, directory, door, "short-apache.example.com", *directives)
    with apache.serving():
        apache.renewed()
        (certificate,) = (directory / "md/domains/short-apache.example.com").glob("pubcert*.pem")
    assert days(certificate) == 6
