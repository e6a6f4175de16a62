"""A network in which every address of IPv4 and IPv6 leads to this machine.

The kernel's "local" routes for everything, in a network namespace of its own: a server there on any address
sees whatever would have gone anywhere, so that "nobody connected" is an observation.  Needs root.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Awaitable, Callable

import uvloop

CLONE_NEWNET = 0x4000_0000
UNREACHABLE = "9.9.9.8"
"""The one address that has no way."""

_ROUTES = (
    "ip link set lo up",
    "ip route add local 0.0.0.0/0 dev lo",
    "ip -6 route add local ::/0 dev lo",
    f"ip route add unreachable {UNREACHABLE}/32 table local",
)


def anywhere(journey: Callable[[], Awaitable[None]]) -> None:
    """Run `journey` there, on a loop and a thread of its own; the network ends with the thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            _enter()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_awaited(journey))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _enter() -> None:
    """Leave the machine's network: this thread and its children alone do."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"a network namespace needs root: {os.strerror(number)}")
    for command in _ROUTES:
        subprocess.run(command.split(), check=True, capture_output=True, timeout=10)


async def _awaited(journey: Callable[[], Awaitable[None]]) -> None:
    await journey()
