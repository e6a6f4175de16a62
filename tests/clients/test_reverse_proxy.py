"""deploy/nginx-acme.conf: nginx in front of the ACME server, and clients that know nothing of it."""

from __future__ import annotations

import os
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import tls
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import Certbot, eventually, load, program, run
from tests.support.hosts import running
from tests.support.renewal import window
from tests.world.addresses import free_port
from tests.world.world import World

CONFIGURATION = REPOSITORY / "deploy" / "nginx-acme.conf"

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 6.4")]


@dataclass(frozen=True, slots=True)
class Front:
    """The CA behind nginx; `trust` vouches for nginx alone."""

    ca: RunningCa
    trust: Path


@pytest.fixture(scope="module")
def front(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    directory = tmp_path_factory.mktemp("front")
    port = free_port()
    ca = RunningCa(
        directory / "ca",
        {
            "validation.resolvers": [world.resolver],
            "acme.base_url": f"https://localhost:{port}",
            "acme.trusted_proxies": ["127.0.0.0/8"],
        },
    )
    try:
        ca.start()
        with nginx(directory, ca, port) as trust:
            yield Front(ca, trust)
    finally:
        ca.stop()


@contextmanager
def nginx(directory: Path, ca: RunningCa, port: int) -> Iterator[Path]:
    """nginx by our configuration, on a port of its own; gives what vouches for its certificate."""
    shown = tls.der(tls.certificate(tls.names("localhost"), subject="localhost"))
    (directory / "front.pem").write_bytes(tls.pem(shown, tls.KEY))
    text = CONFIGURATION.read_text()
    for before, after in {
        "/run/nginx.pid": f"{directory}/nginx.pid",
        "/var/cache/acme-front": f"{directory}/renewal",
        "server 127.0.0.1:14000;": f"server 127.0.0.1:{ca.acme_port};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/acme-front/chain.pem": f"{directory}/front.pem",
        "/etc/acme-front/key.pem": f"{directory}/front.pem",
        "/var/lib/acme-server/trust-anchor.pem": str(ca.trust_anchor),
        "server_tokens off;": "server_tokens off;"
        + "".join(f" {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy")),
    }.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    # The directories of a test belong to whoever runs it.
    prologue = "daemon off;\n" + ("user root;\n" if os.geteuid() == 0 else "")
    (directory / "nginx.conf").write_text(f"{prologue}error_log {directory}/error.log;\n{text}")
    words = [program("nginx"), "-p", str(directory), "-e", f"{directory}/error.log"]
    words += ["-c", f"{directory}/nginx.conf"]
    run([*words, "-t"], directory).ok()
    with running(words, directory):
        eventually(lambda: listens(port), 10, "nginx listens")
        trust = directory / "front.crt"
        trust.write_text(ssl.DER_cert_to_PEM_cert(shown))
        yield trust


@pytest.fixture
def certbot(front: Front, door: str, tmp_path: Path) -> Certbot:
    return Certbot(front.ca, tmp_path, door, trust=front.trust)


def test_certbot_gets_renews_and_revokes_through_nginx(front: Front, certbot: Certbot) -> None:
    name = "proxied.example.com"
    certbot.http01(name).ok()
    first = load(certbot.certificate(name))
    certbot.renew().ok()
    assert load(certbot.certificate(name)).serial_number != first.serial_number
    certbot.revoke(name).ok()


@pytest.mark.clause("RFC 8555 section 7.2")
def test_newnonce_is_answered_as_without_nginx(front: Front) -> None:
    trust = ssl.create_default_context(cafile=str(front.trust))
    told = {}
    for method in ("HEAD", "GET"):
        request = urllib.request.Request(f"{front.ca.base_url}/acme/new-nonce", method=method)
        with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
            told[method] = (answer.status, answer.headers["Cache-Control"])
    assert told == {"HEAD": (200, "no-store"), "GET": (204, "no-store")}


@pytest.mark.clause("RFC 9773 section 4.3")
def test_renewal_information_is_served_while_the_server_is_away(front: Front, certbot: Certbot) -> None:
    name = "cached.example.com"
    certbot.http01(name).ok()
    leaf = load(certbot.certificate(name))
    before = window(front.ca, leaf, front.trust)
    front.ca.stop()
    assert window(front.ca, leaf, front.trust) == before


def listens(port: int) -> bool:
    """Whether a connection to the port can be had."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
