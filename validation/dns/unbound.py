"""Writes unbound.conf for the one Unbound of one perspective.

Pure: values in, text out.  `BINDING` and `AT_MOST` say what public rules ask of any resolver's configuration;
`resolver_rules` holds the effective one against them.

BR 3.2.2.4 and 3.2.2.8.1 (validation to the root, no local policy that disables it), RFC 4035 section 5, RFC
8914 (extended errors), RFC 9156 (query name minimisation), docs/adr/0016-one-unbound-per-perspective.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from core.errors import ConfigurationError
from validation.addresses import BARRED_V4, BARRED_V6, Network

Version = tuple[int, int, int]

OLDEST: Version = (1, 17, 0)
"""Says why a name is bogus (`ede`, 1.16) and has every option of `BINDING`."""

DISCARDS: Version = (1, 20, 0)
"""From here on a reply slower than `discard-timeout` is dropped, and a client may wait for so many only."""

BINDING = {
    # Validates; nothing weakens or switches off what it finds.
    "module-config": "validator iterator",
    "val-permissive-mode": "no",
    "ignore-cd-flag": "yes",
    "val-override-date": "0",
    "disable-dnssec-lame-check": "no",
    "insecure-lan-zones": "no",
    "domain-insecure": "",
    "trusted-keys-file": "",
    # Unbound's own defaults: a zone of more iterations counts as unsigned where its denials are concerned.
    "val-nsec3-keysize-iterations": "1024 150 2048 150 4096 150",
    # Takes no help from an attacker.
    "harden-glue": "yes",
    "harden-dnssec-stripped": "yes",
    "harden-below-nxdomain": "yes",
    "harden-algo-downgrade": "yes",
    "harden-large-queries": "yes",
    "harden-short-bufsize": "yes",
    "use-caps-for-id": "yes",
    "caps-whitelist": "",
    "qname-minimisation": "yes",
    # Says what is the matter, to us and in the log.
    "ede": "yes",
    # Answers with what the zone says now: nothing expired, fetched ahead or put together.
    "serve-expired": "no",
    "prefetch": "no",
    "aggressive-nsec": "no",
    "cache-min-ttl": "0",
    # Nobody gets other answers than we do.
    "access-control-view": "",
    "interface-view": "",
}
"""Options with the only value that public rules take; an empty one stands in no configuration."""

AT_MOST = {
    "cache-max-ttl": 60,
    "cache-max-negative-ttl": 60,
    # DNS Flag Day 2020: no fragments, hence no fragment spoofing.
    "edns-buffer-size": 1232,
    # How far beyond its dates a signature is taken: Unbound's own defaults, for clocks that differ.
    "val-sig-skew-min": 3600,
    "val-sig-skew-max": 86400,
}

_UNSAID = frozenset(
    {"val-override-date", "trusted-keys-file", "interface-view", "caps-whitelist", "domain-insecure"}
)
"""Right when nobody names them."""

_VERSION = re.compile(r"^Version (\d+)\.(\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Instance:
    """What differs from one Unbound to the next.

    `allowed` are the special networks that answers may point into (`validation.allowed_networks`); `extra` is
    the operator's text, which comes last and so overrules what is above it; `user` is whose rights it takes
    when root starts it, "" for those that it has.
    """

    version: Version
    directory: Path
    host: str
    port: int
    anchor: Path
    allowed: tuple[Network, ...] = ()
    extra: str = ""
    user: str = ""


def version(shown: str) -> Version:
    """The version in the output of `unbound -V`.  Raises `ConfigurationError` when it is too old or none."""
    found = _VERSION.search(shown)
    if found is None:
        raise ConfigurationError("validation.unbound: it does not say its version with -V; name an Unbound")
    read = int(found[1]), int(found[2]), int(found[3])
    if read < OLDEST:
        raise ConfigurationError(
            f"validation.unbound: version {_dotted(read)} is too old; install {_dotted(OLDEST)} or newer"
        )
    return read


def configuration(instance: Instance) -> str:
    """The text of unbound.conf."""
    server: list[tuple[str, str]] = [
        ("interface", f"{instance.host}@{instance.port}"),
        ("access-control", "127.0.0.0/8 allow"),
        ("access-control", "::1/128 allow"),
        # Two sockets on one port would be two resolvers.
        ("so-reuseport", "no"),
        ("num-threads", "1"),
        ("username", f'"{instance.user}"'),
        ("chroot", '""'),
        ("directory", f'"{instance.directory}"'),
        ("pidfile", '""'),
        ("use-syslog", "no"),
        ("logfile", '""'),
        ("val-log-level", "2"),
        ("hide-identity", "yes"),
        ("hide-version", "yes"),
        ("trust-anchor-file", f'"{instance.anchor}"'),
        *((name, _written(value)) for name, value in BINDING.items() if name not in _UNSAID and value),
        *((name, str(most)) for name, most in AT_MOST.items()),
        ("outgoing-range", "4096"),
        # Two hundred checks ask more at once than the kernel's usual buffer holds, and a lost one costs 3 s.
        ("so-rcvbuf", "1m"),
        ("num-queries-per-thread", "2048"),
        *(("private-address", str(network)) for network in private(instance.allowed)),
    ]
    if instance.version >= DISCARDS:
        server += [
            ("discard-timeout", "0"),
            ("wait-limit-netblock", "127.0.0.0/8 -1"),
            ("wait-limit-netblock", "::1/128 -1"),
        ]
    lines = ["server:", *(f"  {name}: {value}" for name, value in server)]
    lines += ["remote-control:", "  control-enable: no"]
    if instance.extra:
        lines += ["# validation.unbound_include", instance.extra]
    return "\n".join(lines) + "\n"


def private(allowed: Sequence[Network]) -> tuple[Network, ...]:
    """The special-purpose networks that no answer may point into: all, less those that are `allowed`."""
    left: list[Network] = [*BARRED_V4, *BARRED_V6]
    for hole in allowed:
        left = [rest for network in left for rest in _without(network, hole)]
    return tuple(left)


def _without(network: Network, hole: Network) -> Iterable[Network]:
    # Written out for each family, as the types of the library do not mix.
    if isinstance(network, IPv4Network) and isinstance(hole, IPv4Network):
        if hole.supernet_of(network):
            return ()
        return network.address_exclude(hole) if hole.subnet_of(network) else (network,)
    if isinstance(network, IPv6Network) and isinstance(hole, IPv6Network):
        if hole.supernet_of(network):
            return ()
        return network.address_exclude(hole) if hole.subnet_of(network) else (network,)
    return (network,)


def _written(value: str) -> str:
    return f'"{value}"' if " " in value else value


def _dotted(number: Version) -> str:
    return ".".join(map(str, number))
