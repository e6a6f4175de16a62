"""A loopback port that nobody but our child can have: held before it starts, while it runs, after its death.

Unbound sets SO_REUSEADDR, and Linux then lets *any* user bind the same UDP port beside it; the last to come
gets the datagrams, and could answer every question with AD set.  A socket of ours on the port that does not
allow that is in everybody's way.  It is connected elsewhere, so that it takes no datagram from Unbound.

Must never: receive anything.  socket(7), udp(7).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from core.errors import ConfigurationError

HOST = "127.0.0.1"

_TRIES = 20
_NOWHERE = (HOST, 1)
_UNCONNECTED = "07"
"""The state of a UDP socket in /proc/net/udp that takes datagrams from everywhere: Unbound's, not ours."""


class HeldPort:
    """A port of `HOST`, by UDP and TCP, that is free for one child to bind until `shut`."""

    def __init__(self) -> None:
        """Raises `ConfigurationError` when no port is to be had."""
        for _ in range(_TRIES):
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._sockets = (datagrams, stream)
            with contextlib.suppress(OSError):
                datagrams.bind((HOST, 0))
                self.number: int = datagrams.getsockname()[1]
                stream.bind((HOST, self.number))
                datagrams.connect(_NOWHERE)
                for each in self._sockets:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                return
            self.close()
        raise ConfigurationError("no loopback port is free for Unbound; see what holds them all (ss -lnut)")

    def shut(self) -> None:
        """From now on nobody else can bind it; who has already is seen by `is_held_by`."""
        for each in self._sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def is_held_by(self, pid: int) -> bool:
        """Whether the process `pid` takes the datagrams of this port, and nobody else does (proc(5))."""
        local = f"{int.from_bytes(socket.inet_aton(HOST), 'little'):08X}:{self.number:04X}"
        lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
        entries = [line.split() for line in lines]
        takers = {
            f"socket:[{entry[9]}]" for entry in entries if entry[1] == local and entry[3] == _UNCONNECTED
        }
        return bool(takers) and takers <= set(_descriptors(pid))

    def close(self) -> None:
        """Let go of it."""
        for each in self._sockets:
            each.close()


def _descriptors(pid: int) -> Iterator[str]:
    """What the process has open; what it closes meanwhile, and a process that is gone, have nothing."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(link)
