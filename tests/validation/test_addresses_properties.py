"""The address policy against what Python's own `ipaddress` knows, which has tables of another origin."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from validation.addresses import AddressBarred, AddressPolicy, Network, embedded, parse_address

POLICY = AddressPolicy()
PRIVATE = [IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")]
KNOWN_TO_US_ALONE = (
    # Anycast services and relays, which ipaddress calls global; nobody's web server is there.
    *("192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24", "192.88.99.0/24", "2620:4f:8000::/48"),
    # ipaddress of Python 3.11 is older than these rows, or knows them in part.
    *("192.0.0.0/24", "2001::/23", "100:0:0:1::/64", "3fff::/20", "5f00::/16", "64:ff9b:1::/48"),
)
SIXTEEN = st.integers(0, 0xFFFF)


def barred(address: IPv4Address | IPv6Address, policy: AddressPolicy = POLICY) -> bool:
    try:
        policy.police(address)
    except AddressBarred:
        return True
    return False


def wraps(inner: IPv4Address, other: int) -> dict[str, IPv6Address]:
    """Every form in which `inner` stands in an IPv6 address; `other` fills the free bits."""
    number = int(inner)
    return {
        "compatible": IPv6Address(number),
        "mapped": IPv6Address(0xFFFF << 32 | number),
        "translated": IPv6Address(0xFFFF << 48 | number),
        "NAT64": IPv6Address(0x64FF9B << 96 | number),
        "local NAT64": IPv6Address(0x64FF9B0001 << 80 | other << 32 | number),
        "6to4": IPv6Address(0x2002 << 112 | number << 80 | other),
        "Teredo server": IPv6Address(0x20010000 << 96 | number << 64 | other),
        "Teredo client": IPv6Address(0x20010000 << 96 | other << 64 | number ^ 0xFFFFFFFF),
    }


NEAR = st.builds(
    # Addresses at the edges of networks, where a wrong prefix length shows.
    lambda network, side, step: ip_address(
        max(0, min(int(network[side]) + step, 2**network.max_prefixlen - 1))
        if network.version == 4
        else int(IPv6Address(max(0, min(int(network[side]) + step, 2**128 - 1))))
    ),
    st.sampled_from([*map(IPv4Network, ("100.64.0.0/10", "172.16.0.0/12", "198.18.0.0/15", "240.0.0.0/4"))]),
    st.sampled_from([0, -1]),
    st.integers(-2, 2),
)
V6_NEAR = st.builds(
    lambda network, side, step: IPv6Address(max(0, min(int(network[side]) + step, 2**128 - 1))),
    st.sampled_from(
        [*map(IPv6Network, ("fc00::/7", "fe80::/10", "fec0::/10", "2001:db8::/32", "2001::/23", "100::/64"))]
    ),
    st.sampled_from([0, -1]),
    st.integers(-2, 2),
)


@pytest.mark.row("attacks.name-to-internal")
@settings(max_examples=500)
@given(st.ip_addresses(v=4) | NEAR)
def test_an_ipv4_address_is_barred_when_ipaddress_calls_it_special_and_else_by_a_named_network(
    address,
) -> None:
    special = not address.is_global or address.is_multicast or address.is_reserved
    ours = any(address in IPv4Network(network) for network in KNOWN_TO_US_ALONE if ":" not in network)
    assert barred(address) == (special or ours)


@pytest.mark.row("attacks.name-to-internal")
@settings(max_examples=500)
@given(st.ip_addresses(v=6) | V6_NEAR | st.ip_addresses(network="2000::/12"))
def test_an_ipv6_address_is_barred_when_ipaddress_calls_it_special_and_else_by_a_named_network(
    address,
) -> None:
    special = not address.is_global or address.is_multicast or address.is_site_local
    carries = address.ipv4_mapped or address.sixtofour or address.teredo or address in IPv6Network("::/32")
    ours = any(address in IPv6Network(network) for network in KNOWN_TO_US_ALONE if ":" in network)
    if special or ours:
        assert barred(address)
    elif not carries and address not in IPv6Network("64:ff9b::/96"):
        assert not barred(address)


@pytest.mark.row("attacks.name-to-internal")
@settings(max_examples=300)
@given(st.ip_addresses(v=4), st.integers(0, 2**32 - 1))
@example(IPv4Address("127.0.0.1"), 0)
@example(IPv4Address("8.8.8.8"), 0)
def test_an_embedded_address_is_judged_as_if_it_stood_alone(inner: IPv4Address, other: int) -> None:
    for form, outer in wraps(inner, other).items():
        if form in ("6to4", "NAT64"):
            assert barred(outer) == barred(inner), form
            assert embedded(outer) == (inner,)
        else:
            # Local to one machine or one network whatever is in them.
            assert barred(outer), form


@st.composite
def holes(draw: st.DrawFn) -> Network:
    """A network that an operator lets in."""
    outer = draw(st.sampled_from(PRIVATE))
    inside = draw(st.ip_addresses(network=outer))
    return IPv4Network((inside, draw(st.integers(outer.prefixlen, 32))), strict=False)


@pytest.mark.row("attacks.name-to-internal")
@settings(max_examples=300)
@given(holes(), st.data(), st.integers(0, 2**32 - 1))
def test_a_hole_for_an_address_opens_none_of_its_wrapped_forms(hole, data: st.DataObject, other: int) -> None:
    policy = AddressPolicy([hole])
    inner = data.draw(st.ip_addresses(network=hole))
    assert not barred(inner, policy)
    assert all(barred(outer, policy) for outer in wraps(inner, other).values())


@settings(max_examples=300)
@given(st.lists(holes(), max_size=3), st.ip_addresses() | NEAR)
def test_holes_open_what_is_in_them_and_change_nothing_else(opened, address) -> None:
    inside = any(address.version == hole.version and address in hole for hole in opened)
    assert barred(address, AddressPolicy(opened)) == (barred(address) and not inside)


@given(st.ip_addresses(v=6), st.text(alphabet="abc0123.:", min_size=1, max_size=5))
def test_no_address_with_a_zone_index_is_allowed(address: IPv6Address, zone: str) -> None:
    assert barred(IPv6Address(f"{address}%{zone}"))


@pytest.mark.row("attacks.odd-literals")
@settings(max_examples=400)
@given(
    st.one_of(
        st.ip_addresses().map(str),
        st.ip_addresses(v=6).map(lambda address: address.exploded),
        st.lists(
            st.sampled_from(["0", "00", "1", "127", "0x7f", "0177", "256", "", "1e1", "１"]), max_size=5
        ).map(".".join),
        st.text(alphabet="0123456789abcdefxX.:[]%", max_size=20),
        st.integers(0, 2**33).map(str),
        st.integers(0, 2**33).map(hex),
    )
)
def test_what_is_taken_for_a_literal_has_one_form_and_the_c_library_reads_it_alike(text: str) -> None:
    address = parse_address(text)
    if address is None:
        return
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    assert str(address) == text.lower()
    assert socket.inet_pton(family, text) == address.packed
    if address.version == 4:
        assert socket.inet_aton(text) == address.packed
