"""Network namespaces: the Internet, an attacker's network, and a network of its own for every perspective.

All hang on one bridge.  The servers' addresses are in the namespace `internet`, to which everybody's default
route leads; a hijack is what it is on the Internet, too: a more specific route that leads to the attacker.
What is addressed to nobody vanishes there.  In a perspective's namespace every special-purpose network leads
to itself, so that a listener there sees whoever is lured inside.

Needs root.  Names carry the process id, and what a dead process left behind is swept.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from tests.world import addresses
from tests.world.net import INTERNET

T = TypeVar("T")

ATTACKER = "attacker"
HIJACKABLE = (addresses.INTERNET.leaf, addresses.INTERNET.scripted, addresses.INTERNET.web)
"""What the attacker has, too: whose packets are led to him finds an answer there."""

INTERNAL_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
]
INTERNAL_V6 = [
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fec0::/10",
]
"""Written out here as well as in validation/addresses.py: a table that checks itself finds nothing."""

_GATEWAY, _GATEWAY6 = "11.0.0.1", "2a0e::1"
_CLONE_NEWNET = 0x40000000
_NAME = re.compile(r"acme-(\d+)-\d+-[a-z0-9-]+")
_runs = itertools.count()


class Namespaces:
    """The places while the context is open; `perspectives` are codes, the first the primary's."""

    def __init__(self, perspectives: Sequence[str]) -> None:
        self.addresses = addresses.INTERNET
        self.perspectives: Sequence[str] = tuple(perspectives)
        self.dns_port = self.resolver_port = 53
        self.http_port, self.tls_port = 80, 443
        self.prefix = f"acme-{os.getpid()}-{next(_runs)}-"
        self._places = (INTERNET, ATTACKER, *self.perspectives)

    def __enter__(self) -> Namespaces:
        sweep()
        try:
            for place in self._places:
                _run("ip", "netns", "add", self.prefix + place)
            self._wire()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def command(self, place: str, words: Sequence[str]) -> list[str]:
        """`words` as a command that runs at `place`."""
        return ["nsenter", f"--net=/run/netns/{self.prefix}{place}", *words]

    def inside(self, place: str, work: Callable[[], T]) -> T:
        """What `work` returns at `place`; on a thread of its own, since a thread is what moves."""
        done: list[T] = []
        failed: list[BaseException] = []

        def there() -> None:
            try:
                enter(self.prefix + place)
                done.append(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    def hijack(self, perspective: str, address: str) -> None:
        """Lead what `perspective` sends to `address` to the attacker."""
        _run(
            "ip", "-n", self.prefix + perspective, "route", "replace", address, "via", self.address(ATTACKER)
        )

    def release(self, perspective: str, address: str) -> None:
        """The honest route again."""
        _run("ip", "-n", self.prefix + perspective, "route", "del", address)

    def address(self, place: str) -> str:
        """Where a place is on the bridge."""
        return f"11.0.0.{9 + self._places.index(place)}"

    def _wire(self) -> None:
        internet = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
        internet += [f"address add {_GATEWAY}/24 dev br0", f"address add {_GATEWAY6}/64 dev br0 nodad"]
        for number, place in enumerate(self._places[1:]):
            internet += [
                f"link add v{number} type veth peer name eth0 netns {self.prefix}{place}",
                f"link set v{number} master br0 up",
            ]
        ours = self.addresses
        for address in (ours.root, ours.tld, ours.leaf, ours.scripted, ours.udp_only, ours.absent):
            internet.append(f"address add {address}/32 dev lo")
        for address in (ours.web, ours.plain, ours.tls11, ours.closed):
            internet.append(f"address add {address}/32 dev lo")
        internet.append(f"address add {ours.web6}/128 dev lo nodad")
        self._batch(INTERNET, internet)
        for place in self._places[1:]:
            lines = [
                "link set lo up",
                f"address add {self.address(place)}/24 dev eth0",
                f"address add 2a0e::{9 + self._places.index(place)}/64 dev eth0 nodad",
                "link set eth0 up",
                f"route add default via {_GATEWAY}",
                f"route add default via {_GATEWAY6}",
            ]
            if place == ATTACKER:
                lines += [f"address add {each}/32 dev lo" for each in (*HIJACKABLE, addresses.ATTACKER_WEB)]
            else:
                lines += [f"route add local {each} dev lo" for each in INTERNAL_V4 if each != "127.0.0.0/8"]
                lines += [f"route add local {each} dev lo" for each in INTERNAL_V6]
                lines.append(f"route add {addresses.ATTACKER_WEB} via {self.address(ATTACKER)}")
            self._batch(place, lines)

    def _batch(self, place: str, lines: Sequence[str]) -> None:
        _run("ip", "-n", self.prefix + place, "-batch", "-", given="\n".join(lines) + "\n")

    def _remove(self) -> None:
        for place in self._places:
            subprocess.run(["ip", "netns", "del", self.prefix + place], check=False, capture_output=True)


def possible() -> bool:
    """Whether this process may make namespaces."""
    return os.geteuid() == 0


def enter(name: str) -> None:
    """Move the calling thread (a process that has no other: the whole process) into the namespace `name`."""
    with open(f"/run/netns/{name}", "rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")


def sweep() -> None:
    """Remove the namespaces of test processes that are dead, and end what still runs in them."""
    listed = _run("ip", "netns", "list")
    for name, pid in [(found[0], int(found[1])) for found in _NAME.finditer(listed)]:
        if os.path.exists(f"/proc/{pid}"):
            continue
        for inside in processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(inside, signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def processes(name: str) -> list[int]:
    """The processes in the namespace `name`."""
    return [int(pid) for pid in _run("ip", "netns", "pids", name).split()]


def _run(*words: str, given: str = "") -> str:
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr.strip()}\n{given}")
    return done.stdout
