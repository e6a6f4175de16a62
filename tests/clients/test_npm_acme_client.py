"""npm's acme-client, a library for Node.js, in a program of ours (acme_client.cjs)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Binding
from tests.clients.environments import node
from tests.support.ca import RunningCa
from tests.support.clients import addresses, check, days, eventually, load, ocsp, parted, program, run
from tests.support.hosts import alpn_responder, webroot

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]

PROGRAM = Path(__file__).with_name("acme_client.cjs")


class Node:
    """Our program, which finds the library."""

    def __init__(self, ca: RunningCa, directory: Path, door: str) -> None:
        self._ca = ca
        self._door = door
        self.directory = directory
        self.environment = {
            "NODE_PATH": str(node() / "node_modules"),
            "NODE_EXTRA_CA_CERTS": str(ca.trust_anchor),
            "DEBUG": "acme-client",
        }

    def run(self, do: str, **ask: Any) -> dict[str, Any]:
        """What a journey of the program told; must end well."""
        asked = {"do": do, "directory": self._ca.directory_url, "door": self._door, **ask}
        ran = run([program("node"), str(PROGRAM), json.dumps(asked)], self.directory, **self.environment).ok()
        told: dict[str, Any] = json.loads(ran.output.splitlines()[-1])
        return told

    def files(self, chain: str) -> tuple[Path, Path]:
        """Leaf and issuer of a chain (PEM)."""
        (self.directory / "chain.pem").write_text(chain)
        return parted(self.directory / "chain.pem")


@pytest.fixture
def client(ca: RunningCa, door: str, tmp_path: Path) -> Node:
    return Node(ca, tmp_path, door)


@pytest.mark.client("acme-client", "http-01", "renew", "revoke")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_acme_client_gets_renews_and_revokes_a_certificate_by_http_01(
    ca: RunningCa, client: Node, tmp_path: Path
) -> None:
    name = "npm.example.com"
    with webroot(tmp_path / "www", ca.http_port) as tokens:
        told = client.run("issue, renew, revoke", name=name, method="http-01", tokens=str(tokens))
    leaf, issuer = client.files(told["first"])
    first = load(leaf)
    check(ca, leaf, issuer, name)
    leaf, issuer = client.files(told["chain"])
    assert load(leaf).serial_number != first.serial_number
    eventually(lambda: ocsp(ca, leaf, issuer) == "revoked", 5, "OCSP says revoked")


@pytest.mark.client("acme-client", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_acme_client_gets_a_wildcard_by_dns_01(ca: RunningCa, client: Node) -> None:
    told = client.run("issue", name="*.npm.example.com", method="dns-01")
    check(ca, *client.files(told["chain"]), "any.npm.example.com")


@pytest.mark.client("acme-client", "tls-alpn-01")
@pytest.mark.clause("RFC 8737 section 3")
def test_acme_client_gets_a_certificate_by_tls_alpn_01(ca: RunningCa, client: Node, tmp_path: Path) -> None:
    name = "alpn-npm.example.com"
    with alpn_responder(tmp_path, ca.tls_alpn_port):
        told = client.run("issue", name=name, method="tls-alpn-01", certificates=str(tmp_path))
    check(ca, *client.files(told["chain"]), name)


@pytest.mark.client("acme-client", "ip")
@pytest.mark.clause("RFC 8738 section 3")
def test_acme_client_gets_a_certificate_for_an_address(ca: RunningCa, client: Node, tmp_path: Path) -> None:
    with webroot(tmp_path / "www", ca.http_port) as tokens:
        told = client.run("order", type="ip", name="127.0.0.1", method="http-01", tokens=str(tokens))
    assert addresses(load(client.files(told["chain"])[0])) == ["127.0.0.1"]


@pytest.mark.client("acme-client", "key-change")
@pytest.mark.clause("RFC 8555 section 7.3.5")
def test_acme_client_changes_its_key_and_keeps_its_account(client: Node) -> None:
    told = client.run("change the key")
    assert told["before"] == told["after"]


@pytest.mark.clause("RFC 8555 section 7.5.2")
@pytest.mark.clause("RFC 8555 section 7.3.6")
def test_acme_client_deactivates_an_authorization_and_its_account(client: Node) -> None:
    told = client.run("leave", name="left-npm.example.com")
    assert told == {"authorization": "deactivated", "account": "deactivated"}


@pytest.mark.client("acme-client", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
def test_acme_client_binds_its_account(ca: RunningCa, client: Node, binding: Binding) -> None:
    asked = {"kid": binding.kid, "hmacKey": binding.key}
    name = "bound-npm.example.com"
    told = client.run("bind an account", name=name, method="dns-01", binding=asked)
    check(ca, *client.files(told["chain"]), name)


@pytest.mark.client("acme-client", "profiles")
@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
def test_acme_client_orders_by_profile(ca: RunningCa, client: Node) -> None:
    name = "short-npm.example.com"
    told = client.run("order", type="dns", name=name, method="dns-01", profile="shortlived")
    assert told["profile"] == "shortlived"
    assert days(client.files(told["chain"])[0]) == 6
