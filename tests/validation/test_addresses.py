"""The address policy."""

from __future__ import annotations

import contextlib
import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigurationError
from validation.addresses import BARRED_V4, BARRED_V6, AddressBarred, AddressPolicy, embedded, parse_address

POLICY = AddressPolicy()


@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.clause("RFC 6890 section 2.2")
@pytest.mark.parametrize("network", [*BARRED_V4, *BARRED_V6], ids=str)
def test_the_first_and_the_last_address_of_every_special_network_are_barred(network) -> None:
    for address in (network[0], network[-1]):
        with pytest.raises(AddressBarred):
            POLICY.police(address)


@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "169.254.169.254",
        "255.255.255.255",
        "0.0.0.0",
        "::1",
        "::",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fec0::1",
        "3fff::1",
        "224.0.0.1",
        "ff02::1",
        "fe80::1",
        "fd00:ec2::254",
        "fe80::1%eth0",
    ],
)
def test_addresses_that_lead_inside_are_barred(text: str) -> None:
    with pytest.raises(AddressBarred):
        POLICY.police(ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "9.9.9.9", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(text: str) -> None:
    POLICY.police(ip_address(text))


@pytest.mark.row("attacks.name-to-internal")
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        *(
            "8.8.8.1",
            "10.9.0.1",
            "127.0.0.1",
            "2a00:ca::1",
            "::ffff:8.8.8.8",
            "::ffff:10.9.0.1",
            "64:ff9b::808:808",
        ),
        *("2002:808:808::", "::8.8.8.8", "::ffff:0:8.8.8.8", "2001:0:4136:e378:8000:63bf:f7f7:f7f7"),
    ],
)
def test_the_cas_own_networks_are_never_reached_whatever_else_is_allowed(text: str, local: bool) -> None:
    own = ["8.8.8.0/24", "10.9.0.0/16", "127.0.0.1/32", "2a00:ca::/32"]
    policy = AddressPolicy.parse(["0.0.0.0/0", "::/0"], own)
    for public in ("8.8.9.1", "10.8.0.1", "2a00:cb::1", "64:ff9b::808:909"):
        policy.police(ip_address(public), local=local)
    with pytest.raises(AddressBarred, match="never reached"):
        policy.police(ip_address(text), local=local)


def test_an_allowed_network_is_a_hole_of_exactly_its_size() -> None:
    policy = AddressPolicy.parse(["10.1.0.0/16", "fd00:1::/32"])
    policy.police(ip_address("10.1.255.255"))
    policy.police(ip_address("fd00:1::5"))
    for text in ("10.2.0.0", "10.0.255.255", "fd00:2::", "127.0.0.1", "::ffff:10.1.0.1", "64:ff9b::a01:1"):
        with pytest.raises(AddressBarred):
            policy.police(ip_address(text))


def test_a_network_that_is_none_is_a_configuration_error_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match=r"allowed_networks.*10\.1\.0\.0/16"):
        AddressPolicy.parse(["10.1.2.3/8"])
    with pytest.raises(ConfigurationError, match=r"barred_networks.*fd00"):
        AddressPolicy.parse([], ["10.1.2.3/8"])


@given(st.ip_addresses(v=4))
def test_an_address_barred_alone_is_barred_in_every_wrapping(inner: IPv4Address) -> None:
    try:
        POLICY.police(inner)
    except AddressBarred:
        for wrapped in (
            0xFFFF << 32 | int(inner),
            0x0064FF9B << 96 | int(inner),
            0x2002 << 112 | int(inner) << 80,
        ):
            with pytest.raises(AddressBarred):
                POLICY.police(IPv6Address(wrapped))


@given(st.ip_addresses(v=6))
def test_policing_ends_for_every_address(address: IPv6Address) -> None:
    assert len(embedded(address)) <= 2
    with contextlib.suppress(AddressBarred):
        POLICY.police(address)


@pytest.mark.row("attacks.odd-literals")
@pytest.mark.parametrize(
    "text", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.1.1.1.", "::01", "[::1]", ""]
)
def test_a_literal_in_another_than_the_canonical_form_is_no_literal(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(("kind", "table"), [("special4", BARRED_V4), ("special6", BARRED_V6)])
def test_the_example_of_a_hosts_firewall_bars_the_same_networks(kind: str, table: tuple) -> None:
    rules = (Path(__file__).parents[2] / "deploy" / "perspective.nft").read_text()
    listed = re.search(rf"set {kind} \{{[^{{]*\{{([^}}]*)\}}", rules)
    assert listed is not None
    assert re.split(r",\s*", listed[1].strip()) == [str(network) for network in table]
