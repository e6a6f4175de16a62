"""The Python library `acme`, which is certbot's, in a program of ours (python_acme.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Binding
from tests.clients.environments import python
from tests.support.ca import RunningCa
from tests.support.clients import addresses, check, days, eventually, load, ocsp, parted, run
from tests.support.renewal import window

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]

PROGRAM = Path(__file__).with_name("python_acme.py")


class Acme:
    """Our program, in the library's environment."""

    def __init__(self, ca: RunningCa, directory: Path, door: str) -> None:
        self._ca = ca
        self._door = door
        self.directory = directory

    def run(self, do: str, **ask: Any) -> dict[str, Any]:
        """What a journey of the program told; must end well."""
        asked = {"do": do, "directory": self._ca.directory_url, "door": self._door, **ask}
        asked |= {"port": self._ca.http_port}
        words = [str(python()), "-I", str(PROGRAM), json.dumps(asked)]
        ran = run(words, self.directory, REQUESTS_CA_BUNDLE=str(self._ca.trust_anchor)).ok()
        told: dict[str, Any] = json.loads(ran.output.splitlines()[-1])
        return told

    def files(self, chain: str) -> tuple[Path, Path]:
        """Leaf and issuer of a chain (PEM)."""
        (self.directory / "chain.pem").write_text(chain)
        return parted(self.directory / "chain.pem")


@pytest.fixture
def acme(ca: RunningCa, door: str, tmp_path: Path) -> Acme:
    return Acme(ca, tmp_path, door)


@pytest.mark.client("python-acme", "http-01", "renew", "revoke")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_acme_gets_renews_and_revokes_a_certificate_by_http_01(ca: RunningCa, acme: Acme) -> None:
    name = "python.example.com"
    told = acme.run("issue, renew, revoke", name=name, method="http-01")
    leaf, issuer = acme.files(told["first"])
    first = load(leaf)
    check(ca, leaf, issuer, name)
    leaf, issuer = acme.files(told["chain"])
    assert load(leaf).serial_number != first.serial_number
    eventually(lambda: ocsp(ca, leaf, issuer) == "revoked", 5, "OCSP says revoked")


@pytest.mark.client("python-acme", "dns-01")
@pytest.mark.clause("RFC 8555 section 8.4")
def test_acme_gets_a_wildcard_by_dns_01(ca: RunningCa, acme: Acme) -> None:
    told = acme.run("issue", name="*.python.example.com", method="dns-01")
    check(ca, *acme.files(told["chain"]), "any.python.example.com")


@pytest.mark.client("python-acme", "ip")
@pytest.mark.clause("RFC 8738 section 3")
def test_acme_gets_a_certificate_for_an_address(acme: Acme) -> None:
    told = acme.run("issue", name="127.0.0.1", method="http-01")
    assert addresses(load(acme.files(told["chain"])[0])) == ["127.0.0.1"]


@pytest.mark.clause("RFC 8555 section 7.3.1")
@pytest.mark.clause("RFC 8555 section 7.3.2")
@pytest.mark.clause("RFC 8555 section 7.3.6")
@pytest.mark.clause("RFC 8555 section 7.5.2")
def test_acme_finds_changes_and_leaves_its_account(acme: Acme) -> None:
    told = acme.run("account", name="left-python.example.com")
    assert told == {
        "account": told["account"],
        "found": told["account"],
        "contact": ["mailto:other@example.com"],
        "authorization": "deactivated",
        "status": "deactivated",
    }


@pytest.mark.client("python-acme", "eab")
@pytest.mark.clause("RFC 8555 section 7.3.4")
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_acme_binds_its_account_by_each_algorithm(acme: Acme, binding: Binding, algorithm: str) -> None:
    asked = {"kid": binding.kid, "key": binding.key, "algorithm": algorithm}
    acme.run(
        "bind an account", name=f"{algorithm.lower()}-python.example.com", method="http-01", binding=asked
    )


@pytest.mark.client("python-acme", "profiles")
@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
def test_acme_orders_by_profile_and_is_refused_one_that_there_is_not(ca: RunningCa, acme: Acme) -> None:
    told = acme.run(
        "order by profile", name="short-python.example.com", method="http-01", profile="shortlived"
    )
    assert days(acme.files(told["chain"])[0]) == 6
    assert told["refused"] == "urn:ietf:params:acme:error:invalidProfile"


@pytest.mark.client("python-acme", "ari")
@pytest.mark.clause("RFC 9773 section 4.2")
def test_acme_is_told_when_to_renew(ca: RunningCa, acme: Acme) -> None:
    told = acme.run("ask when to renew", name="ari-python.example.com", method="http-01")
    start, end = window(ca, load(acme.files(told["chain"])[0]))
    assert start.timestamp() <= told["at"] <= end.timestamp()
