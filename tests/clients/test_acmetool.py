"""acmetool, as Debian ships it: one names what one wants, and it keeps it so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.ca import RunningCa
from tests.support.clients import HOOK, Ran, check, load, program, run
from tests.support.hosts import TOKENS, webroot

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]


class Acmetool:
    """acmetool with its files in a directory of its own."""

    def __init__(self, ca: RunningCa, directory: Path, door: str) -> None:
        self._ca = ca
        self._door = door
        self.directory = directory

    def run(self, *words: str) -> Ran:
        """Any command; must end well."""
        base = [
            program("acmetool"),
            "--batch",
            "--xlog.severity=debug",
            "--state",
            str(self.directory / "state"),
        ]
        base += ["--hooks", str(self.directory / "hooks")]
        environment = {"SSL_CERT_FILE": str(self._ca.trust_anchor), "WORLD_DOOR": self._door}
        return run([*base, *words], self.directory, **environment).ok()

    def files(self, name: str) -> tuple[Path, Path]:
        """Leaf and issuer."""
        live = self.directory / "state" / "live" / name
        return live / "cert", live / "chain"


@pytest.fixture
def acmetool(ca: RunningCa, door: str, tmp_path: Path) -> Acmetool:
    """Set up as its quickstart would, with everything answered."""
    state = tmp_path / "state"
    (state / "conf").mkdir(parents=True)
    (tmp_path / "hooks").mkdir()
    agreed = {"acme-enter-email": "person@example.com", f"acme-agreement:{ca.terms}": True}
    (state / "conf" / "responses").write_text(json.dumps(agreed))
    challenge = {"http-self-test": False, "webroot-paths": [str(tmp_path / "www" / TOKENS)]}
    request = {"provider": ca.directory_url, "key": {"type": "ecdsa"}, "challenge": challenge}
    (state / "conf" / "target").write_text(json.dumps({"request": request}))
    return Acmetool(ca, tmp_path, door)


@pytest.mark.client("acmetool", "http-01", "renew")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_acmetool_gets_a_certificate_by_http_01_and_replaces_a_revoked_one(
    ca: RunningCa, acmetool: Acmetool
) -> None:
    name = "acmetool.example.com"
    with webroot(acmetool.directory / "www", ca.http_port):
        acmetool.run("want", name)
        leaf, issuer = acmetool.files(name)
        check(ca, leaf, issuer, name)
        first = leaf.resolve()
        # Nothing makes it renew sooner than a third of the lifetime before the end, but this file does: a
        # certificate that is marked as revoked satisfies no target.
        (first.parent / "revoked").touch()
        acmetool.run("reconcile")
    assert load(leaf).serial_number != load(first).serial_number
    check(ca, *acmetool.files(name), name)


@pytest.mark.client("acmetool", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_acmetool_gets_a_wildcard_by_dns_01(ca: RunningCa, acmetool: Acmetool) -> None:
    (acmetool.directory / "hooks" / "dns").symlink_to(HOOK)
    acmetool.run("want", "*.acmetool.example.com")
    check(ca, *acmetool.files("*.acmetool.example.com"), "any.acmetool.example.com")
