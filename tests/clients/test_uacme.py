"""uacme, as Debian ships it, with its ualpn for tls-alpn-01."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import Binding
from tests.support.ca import RunningCa
from tests.support.clients import (
    HOOK,
    Ran,
    addresses,
    check,
    eventually,
    load,
    ocsp,
    parted,
    program,
    run,
    trusting,
)
from tests.support.hosts import running, webroot
from tests.world import namespaces
from tests.world.addresses import free_port

pytestmark = [
    pytest.mark.long,
    pytest.mark.clause("RFC 8555 section 7"),
    pytest.mark.skipif(not namespaces.possible(), reason="its trust store is the machine's: needs root"),
]


class Uacme:
    """uacme with its files in a directory of its own."""

    def __init__(self, ca: RunningCa, directory: Path) -> None:
        self._ca = ca
        self.directory = directory

    def run(self, *words: str, hook: Path | str = HOOK, **environment: str) -> Ran:
        """Any command; must end well."""
        base = [
            *trusting(self._ca),
            program("uacme"),
            "--verbose",
            "--yes",
            "--acme-url",
            self._ca.directory_url,
        ]
        base += ["--confdir", str(self.directory), "--type", "EC", "--hook", str(hook)]
        return run([*base, *words], self.directory, **environment).ok()

    def files(self, name: str) -> tuple[Path, Path]:
        """Leaf and issuer."""
        return parted(self.directory / name / "cert.pem")


@pytest.fixture
def uacme(ca: RunningCa, tmp_path: Path) -> Uacme:
    made = Uacme(ca, tmp_path)
    made.run("new", "person@example.com")
    return made


@pytest.mark.client("uacme", "http-01", "renew", "revoke")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_uacme_gets_renews_and_revokes_a_certificate_by_http_01(
    ca: RunningCa, uacme: Uacme, tmp_path: Path
) -> None:
    name = "uacme.example.com"
    with webroot(tmp_path / "www", ca.http_port) as tokens:
        uacme.run("issue", name, WORLD_TOKENS=str(tokens))
        check(ca, *uacme.files(name), name)
        first = load(uacme.files(name)[0])
        uacme.run("--force", "issue", name, WORLD_TOKENS=str(tokens))
    leaf, issuer = uacme.files(name)
    assert load(leaf).serial_number != first.serial_number
    uacme.run("--reason", "4", "revoke", str(leaf.with_name("cert.pem")))
    eventually(lambda: ocsp(ca, leaf, issuer) == "revoked", 5, "OCSP says revoked")


@pytest.mark.client("uacme", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_uacme_gets_a_wildcard_by_dns_01(ca: RunningCa, door: str, uacme: Uacme) -> None:
    uacme.run("issue", "*.uacme.example.com", WORLD_DOOR=door)
    check(ca, *uacme.files("uacme.example.com"), "any.uacme.example.com")


@pytest.mark.client("uacme", "tls-alpn-01")
@pytest.mark.clause("RFC 8737 section 3")
def test_uacme_gets_a_certificate_by_tls_alpn_01_with_ualpn(
    ca: RunningCa, uacme: Uacme, tmp_path: Path
) -> None:
    name = "alpn-uacme.example.com"
    socket = tmp_path / "ualpn.sock"
    # The hook that uacme ships speaks to a ualpn at the usual place; ours is elsewhere.
    own = tmp_path / "bin" / "ualpn"
    own.parent.mkdir()
    own.write_text(f'#!/bin/sh\nexec {program("ualpn")} --sock {socket} "$@"\n')
    own.chmod(0o755)
    server = [program("ualpn"), "--sock", str(socket), "--pidfile", str(tmp_path / "ualpn.pid"), "-vv"]
    server += ["--bind", f"127.0.0.1@{ca.tls_alpn_port}", "--connect", f"127.0.0.1@{free_port()}"]
    with running(server, tmp_path):
        eventually(socket.exists, 10, "ualpn listens")
        path = f"{own.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        uacme.run("issue", name, hook="/usr/share/uacme/ualpn.sh", PATH=path)
    check(ca, *uacme.files(name), name)


@pytest.mark.client("uacme", "ip")
@pytest.mark.clause("RFC 8738 section 3")
def test_uacme_gets_a_certificate_for_an_address(ca: RunningCa, uacme: Uacme, tmp_path: Path) -> None:
    with webroot(tmp_path / "www", ca.http_port) as tokens:
        uacme.run("issue", "127.0.0.1", WORLD_TOKENS=str(tokens))
    assert addresses(load(uacme.files("127.0.0.1")[0])) == ["127.0.0.1"]


@pytest.mark.client("uacme", "key-change")
@pytest.mark.clause("RFC 8555 section 7.3.5")
def test_uacme_changes_its_key_and_keeps_its_account(uacme: Uacme) -> None:
    before = uacme.run("update", "other@example.com").output
    key = (uacme.directory / "private" / "key.pem").read_bytes()
    uacme.run("newkey")
    assert (uacme.directory / "private" / "key.pem").read_bytes() != key
    after = uacme.run("update", "person@example.com").output
    assert account(before) == account(after)


@pytest.mark.clause("RFC 8555 section 7.3.6")
def test_uacme_deactivates_its_account(uacme: Uacme) -> None:
    uacme.run("deactivate")


def account(output: str) -> str:
    """The account URL that uacme told."""
    return next(line for line in output.splitlines() if "/acme/account/" in line)


@pytest.mark.client("uacme", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_uacme_binds_its_account(ca: RunningCa, tmp_path: Path, binding: Binding) -> None:
    Uacme(ca, tmp_path).run("--eab", f"{binding.kid}:{binding.key}", "new", "person@example.com")
