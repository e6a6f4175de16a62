"""Where a process or a socket of the world is: `Loopback` puts all on this machine's own loopback.

`tests.world.namespaces.Namespaces` is the other one: a network of its own for every perspective.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, TypeVar

from tests.world.addresses import LOOPBACK, Addresses, free_port

T = TypeVar("T")

INTERNET = "internet"
"""The place where the servers are."""


class Net(Protocol):
    """Places by name: `INTERNET`, and one for each of `perspectives`."""

    addresses: Addresses
    perspectives: Sequence[str]
    dns_port: int
    """Of the authoritative servers."""
    resolver_port: int
    """Of each perspective's resolver, on 127.0.0.1."""
    http_port: int
    tls_port: int
    """What stands for ports 80 and 443."""

    def __enter__(self) -> Net: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def command(self, place: str, words: Sequence[str]) -> list[str]:
        """`words` as a command that runs at `place`."""

    def inside(self, place: str, work: Callable[[], T]) -> T:
        """What `work` returns when it is done at `place`: a socket that it makes belongs there for ever."""


class Loopback:
    """Everything at one place, on ports that are free: no privilege is needed."""

    def __init__(self) -> None:
        self.addresses = LOOPBACK
        self.perspectives: Sequence[str] = ("local",)
        servers = (LOOPBACK.root, LOOPBACK.tld, LOOPBACK.leaf, LOOPBACK.scripted, LOOPBACK.udp_only)
        self.dns_port = free_port(*servers)
        self.resolver_port = free_port()
        hosts = (LOOPBACK.web, LOOPBACK.web6, LOOPBACK.plain, LOOPBACK.tls11)
        self.http_port = free_port(*hosts)
        self.tls_port = free_port(*hosts)

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def command(self, place: str, words: Sequence[str]) -> list[str]:
        return list(words)

    def inside(self, place: str, work: Callable[[], T]) -> T:
        return work()
