"""The redirect policy."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from validation.addresses import parse_address
from validation.hosts.redirects import Hop, Ports, follow
from validation.verdict import CheckFailed

START = Hop("http", "start.example", 80, "/.well-known/acme-challenge/token")
PORTS = Ports()


def public_name(host: str) -> str:
    if "." not in host or "_" in host or not host.endswith((".example", ".org")):
        raise Problem("rejectedIdentifier", "no such top level domain")
    return host


def go(location: str | None, ports: Ports = PORTS) -> Hop:
    return follow(START, location, ports, public_name)


@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.clause("BR 3.2.2.4.19")
@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/other", "http://start.example/other"),
        ("other?x=1#fragment", "http://start.example/.well-known/acme-challenge/other?x=1"),
        ("https://start.example/", "https://start.example/"),
        ("https://Other.Example", "https://other.example/"),
        ("//other.example/x", "http://other.example/x"),
        ("http://other.example:443/x", "http://other.example:443/x"),
        ("https://other.example:80/x", "https://other.example:80/x"),
        ("https://other.example:443/x", "https://other.example/x"),
        ("http://192.0.2.1/x", "http://192.0.2.1/x"),
        ("http://[2001:db8::1]/x", "http://[2001:db8::1]/x"),
    ],
)
def test_a_redirect_to_the_web_ports_is_followed(location: str, url: str) -> None:
    assert go(location).url == url


@pytest.mark.row("attacks.odd-literals")
@pytest.mark.row("errors.redirect")
@pytest.mark.row("methods.http-01-redirects")
@pytest.mark.row("methods.http-01-redirect-hosts")
@pytest.mark.clause("BR 3.2.2.4.19")
@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "ftp://other.example/",
        "gopher://other.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://other.example:22/",
        "http://other.example:6379/",
        "http://other.example:8080/",
        "http://other.example:0/",
        "http://other.example:99999/",
        "http://other.example:/",
        "http://user@other.example/",
        "http://user:password@other.example/",
        "http://other.example\\@evil.org/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://[::ffff:127.0.0.1%25lo]/",
        "http://[fe80::1%25eth0]/",
        "http://[::01]/",
        "http://[v1.x]/",
        "http://[::1/",
        "http://localhost/",
        "http://intranet/",
        "http://host_name.example/",
        "http://other.invalid/",
        "http://start.example.well-known/acme-challenge/token",
        "http://other。example/",
        "http://other.example/a b",
        "http://other.example/\r\nX: y",
        "http://other.example/\x00",
        "http:///path",
        "http://",
        "http://other.example/" + "a" * 2000,
    ],
)
def test_a_redirect_elsewhere_is_refused_as_a_connection_problem(location: str | None) -> None:
    with pytest.raises(CheckFailed) as refused:
        go(location)
    assert refused.value.problem == "connection"
    assert refused.value.detail.isprintable()


def test_the_ports_that_stand_for_80_and_443_may_be_named_and_are_dialled() -> None:
    ports = Ports(5002, 5003)
    assert ports.dialled(go("http://other.example/", ports).port) == 5002
    assert ports.dialled(go("https://other.example/", ports).port) == 5003
    assert ports.dialled(go("http://other.example:5002/", ports).port) == 5002
    assert go("http://other.example:5002/", ports).authority == "other.example:5002"
    with pytest.raises(CheckFailed):
        go("http://other.example:5004/", ports)


@given(st.text(alphabet=string.printable + "é\x00%[]@\\", max_size=80))
def test_whatever_is_followed_leads_to_a_web_port_of_a_plain_host(location: str) -> None:
    try:
        hop = go(location)
    except CheckFailed:
        return
    assert hop.scheme in ("http", "https")
    assert hop.port in (80, 443)
    assert hop.target.startswith("/")
    assert "@" not in hop.authority
    assert parse_address(hop.host) is not None or public_name(hop.host) == hop.host


@given(
    st.sampled_from(["http", "https", "ftp", ""]),
    st.text(alphabet=string.ascii_letters + string.digits + ".-_:@[]%", max_size=30),
    st.text(alphabet=string.ascii_letters + "/?#%;", max_size=20),
)
def test_no_made_up_url_gets_another_port_or_user(scheme: str, authority: str, path: str) -> None:
    try:
        hop = go(f"{scheme}://{authority}/{path}" if scheme else f"//{authority}/{path}")
    except CheckFailed:
        return
    assert hop.port in (80, 443)
    assert "@" not in hop.url.split("/")[2]
