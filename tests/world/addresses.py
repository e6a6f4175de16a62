"""Where everything of the world lives: one address for each server, so that each is a server of its own."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Addresses:
    """Name servers and hosts.

    Name servers: `root`, `tld`, `leaf` (NSD), `scripted` (lies or is silent), `udp_only` (no TCP), `absent`
    (nobody).  Hosts: `web`, `web6`, `plain` (HTTP on the TLS port), `tls11`, `closed` (no port open),
    `nowhere` (packets vanish).
    """

    root: str
    tld: str
    leaf: str
    scripted: str
    udp_only: str
    absent: str
    web: str
    web6: str
    plain: str
    tls11: str
    closed: str
    nowhere: str


LOOPBACK = Addresses(
    root="127.0.53.1",
    tld="127.0.53.2",
    leaf="127.0.53.3",
    scripted="127.0.53.4",
    udp_only="127.0.53.5",
    absent="127.0.53.6",
    web="127.0.0.1",
    web6="::1",
    plain="127.0.80.2",
    tls11="127.0.80.3",
    closed="127.0.0.9",
    nowhere="127.0.80.9",  # on loopback no packet vanishes: it is refused
)

INTERNET = Addresses(
    # A network that looks public, since the address policy is in force; nothing leaves the namespaces.
    root="11.53.0.1",
    tld="11.53.0.2",
    leaf="11.53.0.3",
    scripted="11.53.0.4",
    udp_only="11.53.0.5",
    absent="11.53.0.6",
    web="11.80.0.1",
    web6="2a0e:80::1",
    plain="11.80.0.2",
    tls11="11.80.0.3",
    closed="11.80.0.4",
    nowhere="11.99.0.1",
)


ATTACKER_WEB = "11.66.0.1"
"""Where the attacker's own hosts are."""


_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_BLOCK = 16
_ours: list[int] = []


def free_port(*addresses: str) -> int:
    """A port that is free now for TCP and UDP on all `addresses` (default: 127.0.0.1).

    It is none of those that the kernel gives to clients: one of them could take it before its server does.
    No port is given out twice by the test processes that live, whatever number of them runs on this machine.
    """
    wanted = addresses or ("127.0.0.1",)
    for _ in range(200):
        port = _ours.pop() if _ours else _new_block()
        if all(_is_free(address, port) for address in wanted):
            return port
    raise RuntimeError(f"no port is free on {', '.join(wanted)}")


def _new_block() -> int:
    """A port of a block that becomes ours, as long as this process lives; the others come next."""
    lowest, highest = map(int, _EPHEMERAL.read_text().split())
    ports = range(20_000, lowest) or range(highest + 1, 65_536) or range(20_000, 65_536)
    for _ in range(200):
        first = random.SystemRandom().randrange(0, len(ports), _BLOCK)
        if _reserved(ports[first]):
            _ours.extend(ports[first : first + _BLOCK])
            return _ours.pop()
    raise RuntimeError("other test processes have all blocks of ports")


def _reserved(port: int) -> bool:
    """Whether the name that stands for the block was nobody's; it is ours now."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0acme-test-ports-{port}")
    except OSError:
        name.close()
        return False
    name.detach()  # the kernel closes it with the process
    return True


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as sock:
            try:
                sock.bind((address, port))
            except OSError:
                return False
    return True
