"""Which addresses validation may connect to: the address policy, pure.

An address that is not globally reachable belongs to us, to a neighbour or to nobody; connecting there for a
stranger is server-side request forgery.  `ipaddress.is_global` is not enough: it calls 64:ff9b::7f00:1,
2002:7f00:1::, ::127.0.0.1, fec0::1, 3fff::1 and 224.0.0.1 global, so the tables are written out here.

IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), RFC 5771, RFC 3879, RFC 6052, RFC 4380.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from core.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

BARRED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private use, RFC 1918
        "100.64.0.0/10",  # shared address space, RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link local and the clouds' metadata services, RFC 3927
        "172.16.0.0/12",  # private use, RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.31.196.0/24",  # AS112, RFC 7535
        "192.52.193.0/24",  # AMT, RFC 7450
        "192.88.99.0/24",  # 6to4 relay anycast, RFC 7526
        "192.168.0.0/16",  # private use, RFC 1918
        "192.175.48.0/24",  # AS112, RFC 7534
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved and limited broadcast, RFC 1112 and RFC 919
    )
)
BARRED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "::/96",  # unspecified, loopback and the old IPv4-compatible form, RFC 4291
        "::ffff:0:0/96",  # IPv4-mapped, RFC 4291
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
        "64:ff9b:1::/48",  # local-use NAT64, RFC 8215
        "100::/64",  # discard only, RFC 6666
        "100:0:0:1::/64",  # dummy prefix, RFC 9780
        "2001::/23",  # IETF protocol assignments (Teredo, benchmarking, AMT, ORCHID …), RFC 2928
        "2001:db8::/32",  # documentation, RFC 3849
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing SIDs, RFC 9602
        "fc00::/7",  # unique local, RFC 4193
        "fe80::/10",  # link local, RFC 4291
        "fec0::/10",  # site local, RFC 3879
        "ff00::/8",  # multicast, RFC 4291
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")
_OTHER_FORMS = (IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"))
"""Barred by the table, and with an IPv4 address inside where the operator opened them."""

LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
"""What a local name stands for (RFC 6761 section 6.3)."""


class AddressBarred(Exception):
    """The policy forbids connecting to an address."""


class AddressPolicy:
    """The policy of one CA: the tables above, with the holes that the operator punched.

    `barred` are the CA's own networks, which no hole opens, and no form of an address leads around.
    """

    def __init__(self, allowed: Iterable[Network] = (), barred: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._barred = tuple(barred)

    @classmethod
    def parse(cls, allowed: Iterable[str], barred: Iterable[str] = ()) -> AddressPolicy:
        """For `validation.allowed_networks` and `barred_networks`.  Raises `ConfigurationError`."""
        return cls(_networks("allowed_networks", allowed), _networks("barred_networks", barred))

    def police(self, address: Address, *, local: bool = False) -> None:
        """Returns when a connection to `address` is allowed; `local`: on behalf of a local name.

        Raises `AddressBarred`.
        """
        self._police_own(address)
        if local and address in LOOPBACK:
            return
        if _in(address, self._allowed):
            return
        if isinstance(address, IPv6Address):
            if address.scope_id is not None:
                raise AddressBarred(f"{address} has a zone index")
            for inner in embedded(address):
                # A hole for an inner address does not open its wrapped forms: the outer one is what we dial.
                AddressPolicy().police(inner)
        barred: tuple[Network, ...] = BARRED_V4 if isinstance(address, IPv4Address) else BARRED_V6
        for network in barred:
            if address in network:
                raise AddressBarred(f"{address} is in the special-purpose network {network}")

    def _police_own(self, address: Address) -> None:
        if not self._barred:
            return
        forms: list[Address] = [address]
        if isinstance(address, IPv6Address):
            forms += embedded(address)
            if _in(address, _OTHER_FORMS):
                forms.append(IPv4Address(int(address) & 0xFFFFFFFF))
        for form in forms:
            if _in(form, self._barred):
                raise AddressBarred(f"{address} is in a network that is never reached from here")


def _networks(key: str, written: Iterable[str]) -> list[Network]:
    try:
        return [ip_network(network) for network in written]
    except ValueError as error:
        raise ConfigurationError(
            f"validation.{key}: {error}; write networks like 10.1.0.0/16 or fd00:1::/48"
        ) from error


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def embedded(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that a translator or tunnel would take out of `address`."""
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()


def parse_address(text: str) -> Address | None:
    """The address that `text` is the canonical literal of, or None.

    Only the canonical form counts: 0x7f000001, 127.1 and 2130706433 are names to us, and bad ones.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address if str(address) == text.lower() else None
