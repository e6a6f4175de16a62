"""Other ACME clients that people use, as Debian ships them: dehydrated, Caddy and lego."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ca import RunningCa
from tests.support.clients import HOOK, eventually, run, verify
from tests.world.addresses import free_port
from tests.world.world import World

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]

CADDY_SECONDS = 60


def test_dehydrated_gets_and_revokes_a_certificate_by_dns_01(
    ca: RunningCa, door: str, tmp_path: Path
) -> None:
    name = "dehydrated.example.com"
    (tmp_path / "config").write_text(
        f'CA="{ca.directory_url}"\nCHALLENGETYPE="dns-01"\nHOOK="{HOOK}"\nBASEDIR="{tmp_path}"\n'
        f'CURL_OPTS="--cacert {ca.trust_anchor}"\nCONTACT_EMAIL="person@example.com"\nKEY_ALGO="rsa"\n'
    )
    base = [_program("dehydrated"), "--config", str(tmp_path / "config")]
    registered = run([*base, "--register", "--accept-terms"], tmp_path)
    assert registered.code == 0, registered.output
    issued = run([*base, "--cron", "--domain", name], tmp_path, WORLD_DOOR=door)
    assert issued.code == 0, issued.output
    files = tmp_path / "certs" / name
    checked = verify(ca, files / "cert.pem", files / "chain.pem", name)
    assert checked.code == 0, checked.output
    revoked = run([*base, "--revoke", str(files / "cert.pem")], tmp_path)
    assert revoked.code == 0, revoked.output


def test_caddy_serves_https_with_a_certificate_it_got_by_itself(ca: RunningCa, tmp_path: Path) -> None:
    name = "caddy.example.com"
    https = free_port()
    (tmp_path / "Caddyfile").write_text(
        "{\n admin off\n email person@example.com\n"
        f" http_port {ca.http_port}\n https_port {https}\n default_bind 127.0.0.1\n"
        f" acme_ca {ca.directory_url}\n acme_ca_root {ca.trust_anchor}\n}}\n"
        f"{name} {{\n tls {{\n  issuer acme {{\n   dir {ca.directory_url}\n   disable_tlsalpn_challenge\n"
        f'   trusted_roots {ca.trust_anchor}\n  }}\n }}\n respond "hello from caddy"\n}}\n'
    )
    context = ssl.create_default_context(cafile=str(ca.trust_anchor))

    def greets() -> bool:
        try:
            with (
                socket.create_connection(("127.0.0.1", https), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname=name) as tls,
            ):
                tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                return b"hello from caddy" in tls.recv(65536) + tls.recv(65536)
        except (OSError, ssl.SSLError):
            return False

    words = [_program("caddy"), "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    with _running(words, tmp_path) as log:
        try:
            eventually(greets, CADDY_SECONDS, "caddy serves with our certificate")
        except AssertionError as error:
            raise AssertionError(log.read_text()[-4000:]) from error


def test_lego_gets_a_certificate_by_http_01_and_another_by_dns_01(
    ca: RunningCa, world: World, door: str, tmp_path: Path
) -> None:
    base = [_program("lego"), "--server", ca.directory_url, "--accept-tos", "--email", "person@example.com"]
    base += ["--path", str(tmp_path / "lego")]
    trust = {"LEGO_CA_CERTIFICATES": str(ca.trust_anchor)}
    http = [*base, "--domains", "lego.example.com", "--http", "--http.port", f"127.0.0.1:{ca.http_port}"]
    ran = run([*http, "run"], tmp_path, **trust)
    assert ran.code == 0, ran.output
    dns = [*base, "--domains", "*.lego.example.com", "--dns", "exec", "--dns.disable-cp"]
    dns += ["--dns.resolvers", world.resolver]
    ran = run([*dns, "run"], tmp_path, **trust, EXEC_PATH=str(HOOK), WORLD_DOOR=door)
    assert ran.code == 0, ran.output
    files = tmp_path / "lego/certificates"
    checked = verify(
        ca, files / "lego.example.com.crt", files / "lego.example.com.issuer.crt", "lego.example.com"
    )
    assert checked.code == 0, checked.output


@pytest.mark.clause("RFC 8737")
@pytest.mark.row("methods.tls-alpn-01")
def test_lego_gets_a_certificate_by_tls_alpn_01(ca: RunningCa, tmp_path: Path) -> None:
    name = "alpn.example.com"
    words = [_program("lego"), "--server", ca.directory_url, "--accept-tos", "--email", "person@example.com"]
    words += ["--path", str(tmp_path / "lego"), "--domains", name]
    words += ["--tls", "--tls.port", f"127.0.0.1:{ca.tls_alpn_port}", "run"]
    ran = run(words, tmp_path, LEGO_CA_CERTIFICATES=str(ca.trust_anchor))
    assert ran.code == 0, ran.output
    files = tmp_path / "lego/certificates"
    checked = verify(ca, files / f"{name}.crt", files / f"{name}.issuer.crt", name)
    assert checked.code == 0, checked.output


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: scripts/system-packages installs it"
    return found


@contextmanager
def _running(words: list[str], directory: Path) -> Iterator[Path]:
    log = directory / "server.log"
    environment = {**os.environ, "XDG_DATA_HOME": str(directory), "HOME": str(directory)}
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=directory, env=environment, stdout=out, stderr=out)
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)
