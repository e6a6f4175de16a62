"""Caddy, as Debian ships it: a web server that gets its certificates by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Binding
from tests.support.ca import RunningCa
from tests.support.clients import eventually, program, run
from tests.support.hosts import running, shown
from tests.world.addresses import free_port

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]

CADDY_SECONDS = 60


class Caddy:
    """A site of one name, by HTTPS on a port of its own."""

    def __init__(self, ca: RunningCa, directory: Path, name: str, *issuer: str) -> None:
        self._ca = ca
        self._name = name
        self.directory = directory
        self.https = free_port()
        # Caddy listens where the CA validates: http-01 comes to one port, tls-alpn-01 to the one of HTTPS.
        if "disable_http_challenge" in issuer:
            self.https = ca.tls_alpn_port
        (directory / "Caddyfile").write_text(
            "{\n admin off\n email person@example.com\n"
            f" http_port {ca.http_port}\n https_port {self.https}\n default_bind 127.0.0.1\n}}\n"
            f"{name} {{\n tls {{\n  issuer acme {{\n   dir {ca.directory_url}\n"
            f"   trusted_roots {ca.trust_anchor}\n"
            + "".join(f"   {line}\n" for line in issuer)
            + '  }\n }\n respond "hello from caddy"\n}\n'
        )

    @contextmanager
    def serving(self, policy: Mapping[str, Any] | None = None) -> Iterator[None]:
        """While it runs; `policy` changes what the Caddyfile cannot say."""
        adapted = run([program("caddy"), "adapt", "--config", "Caddyfile"], self.directory).ok()
        config = json.loads(adapted.output[adapted.output.index('{"') :].splitlines()[0])
        config["apps"]["tls"]["automation"]["policies"][0] |= policy or {}
        (self.directory / "caddy.json").write_text(json.dumps(config))
        with running([program("caddy"), "run", "--config", "caddy.json"], self.directory):
            yield

    def leaf(self) -> bytes:
        """The certificate that it shows once it has one that the root vouches for."""
        found: list[bytes] = []

        def serves() -> bool:
            leaf = shown(self.https, self._name, self._ca.trust_anchor)
            if leaf is not None:
                found.append(leaf)
            return leaf is not None

        eventually(serves, CADDY_SECONDS, f"Caddy serves {self._name} with our certificate")
        return found[-1]


@pytest.mark.client("caddy", "http-01", "renew")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_caddy_serves_https_with_a_certificate_it_got_by_itself_and_renews_it(
    ca: RunningCa, tmp_path: Path
) -> None:
    caddy = Caddy(ca, tmp_path, "caddy.example.com", "disable_tlsalpn_challenge")
    with caddy.serving():
        first = caddy.leaf()
    with caddy.serving({"renewal_window_ratio": 0.999999}):
        eventually(lambda: caddy.leaf() != first, CADDY_SECONDS, "Caddy serves the next certificate")


@pytest.mark.client("caddy", "tls-alpn-01")
@pytest.mark.clause("RFC 8737 section 3")
def test_caddy_gets_a_certificate_by_tls_alpn_01_on_the_port_that_it_serves(
    ca: RunningCa, tmp_path: Path
) -> None:
    with (caddy := Caddy(ca, tmp_path, "alpn-caddy.example.com", "disable_http_challenge")).serving():
        caddy.leaf()


@pytest.mark.client("caddy", "ip")
@pytest.mark.clause("RFC 8738 section 3")
def test_caddy_serves_an_address(ca: RunningCa, tmp_path: Path) -> None:
    with (caddy := Caddy(ca, tmp_path, "127.0.0.1", "disable_tlsalpn_challenge")).serving():
        caddy.leaf()


@pytest.mark.client("caddy", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_caddy_binds_its_account(ca: RunningCa, tmp_path: Path, binding: Binding) -> None:
    issuer = ("disable_tlsalpn_challenge", f"eab {binding.kid} {binding.key}")
    with (caddy := Caddy(ca, tmp_path, "bound-caddy.example.com", *issuer)).serving():
        caddy.leaf()
