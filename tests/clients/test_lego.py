"""lego, as Debian ships it; a newer one where LEGO names it (LEGO=/path/to/lego)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.conftest import Binding
from tests.support.ca import RunningCa
from tests.support.clients import HOOK, Ran, check, eventually, load, ocsp, program, run
from tests.world.world import World

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]


@dataclass(frozen=True, slots=True)
class Lego:
    """lego with its files in a directory of its own."""

    ca: RunningCa
    directory: Path
    environment: dict[str, str]

    def run(self, name: str, how: list[str], *command: str, account: list[str] | None = None) -> Ran:
        """Any command for `name`, validated as `how` says; must end well."""
        words = [os.environ.get("LEGO") or program("lego"), "--server", self.ca.directory_url, "--accept-tos"]
        words += ["--email", "person@example.com", "--path", str(self.directory), "--domains", name]
        return run([*words, *(account or []), *how, *command], self.directory, **self.environment).ok()

    def files(self, name: str) -> tuple[Path, Path]:
        """Leaf and issuer."""
        base = self.directory / "certificates" / name.replace("*", "_")
        return base.with_name(f"{base.name}.crt"), base.with_name(f"{base.name}.issuer.crt")

    @property
    def http(self) -> list[str]:
        """By http-01, with a server of its own."""
        return ["--http", "--http.port", f"127.0.0.1:{self.ca.http_port}"]


@pytest.fixture
def lego(ca: RunningCa, door: str, tmp_path: Path) -> Lego:
    environment = {"LEGO_CA_CERTIFICATES": str(ca.trust_anchor), "EXEC_PATH": str(HOOK), "WORLD_DOOR": door}
    return Lego(ca, tmp_path, environment)


@pytest.mark.client("lego", "http-01", "renew", "revoke")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_lego_gets_renews_and_revokes_a_certificate_by_http_01(ca: RunningCa, lego: Lego) -> None:
    name = "lego.example.com"
    lego.run(name, lego.http, "run")
    first = load(lego.files(name)[0])
    lego.run(name, lego.http, "renew", "--days", "366", "--no-random-sleep")
    check(ca, *lego.files(name), name)
    assert load(lego.files(name)[0]).serial_number != first.serial_number
    lego.run(name, [], "revoke", "--keep", "--reason", "4")
    eventually(lambda: ocsp(ca, *lego.files(name)) == "revoked", 5, "OCSP says revoked")


@pytest.mark.client("lego", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_lego_gets_a_wildcard_by_dns_01(ca: RunningCa, world: World, lego: Lego) -> None:
    name = "*.lego.example.com"
    how = ["--dns", "exec", "--dns.disable-cp", "--dns.resolvers", world.resolver]
    lego.run(name, how, "run")
    check(ca, *lego.files(name), "any.lego.example.com")


@pytest.mark.client("lego", "tls-alpn-01")
@pytest.mark.clause("RFC 8737 section 3")
@pytest.mark.row("methods.tls-alpn-01")
def test_lego_gets_a_certificate_by_tls_alpn_01(ca: RunningCa, lego: Lego) -> None:
    name = "alpn-lego.example.com"
    lego.run(name, ["--tls", "--tls.port", f"127.0.0.1:{ca.tls_alpn_port}"], "run")
    check(ca, *lego.files(name), name)


@pytest.mark.client("lego", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_lego_binds_its_account(lego: Lego, binding: Binding) -> None:
    account = ["--eab", "--kid", binding.kid, "--hmac", binding.key]
    lego.run("bound-lego.example.com", lego.http, "run", account=account)
