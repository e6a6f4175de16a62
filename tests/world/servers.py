"""Runs the real name servers of the world: NSD for each level, and a validating Unbound over them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network
from pathlib import Path

from validation.dns import unbound

PROGRAM = "/usr/sbin/unbound"

START_SECONDS = 20
"""A name server that does not answer by then will not."""


Place = Callable[[Sequence[str]], list[str]]
"""Makes of a command one that runs elsewhere (tests/world/net.py)."""


class Server:
    """A child process in the foreground, its output in a log file."""

    def __init__(self, command: list[str], log: Path, cwd: Path | None = None) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=cwd
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return when `ready` says so.  Raises RuntimeError with the log when the process ends before."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self._process.args!r} did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process, by force if need be."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)


class Nsd:
    """An authoritative NSD on one loopback address."""

    def __init__(
        self,
        directory: Path,
        address: str,
        port: int,
        zones: Iterable[tuple[str, Path]],
        place: Place = list,
    ) -> None:
        directory.mkdir()
        self._conf = directory / "nsd.conf"
        lines = [
            "server:",
            f"  ip-address: {address}@{port}",
            "  server-count: 1",
            f'  username: "{_user()}"',
            '  chroot: ""',
            f'  zonesdir: "{directory}"',
            '  database: ""',
            f'  pidfile: "{directory}/nsd.pid"',
            f'  xfrdfile: "{directory}/xfrd.state"',
            f'  xfrdir: "{directory}"',
            f'  zonelistfile: "{directory}/zone.list"',
            "  reuseport: no",
            "  rrl-ratelimit: 0",
            "remote-control:",
            "  control-enable: yes",
            f"  control-interface: {directory}/control.sock",
        ]
        for name, file in zones:
            lines += ["zone:", f'  name: "{name or "."}"', f'  zonefile: "{file}"']
        self._conf.write_text("\n".join(lines) + "\n", encoding="ascii")
        self.server = Server(place(["/usr/sbin/nsd", "-d", "-c", str(self._conf)]), directory / "nsd.log")

    def reload(self, zone: str) -> None:
        """Read the zone file again (asynchronous: the new serial shows when it is done)."""
        command = ["/usr/sbin/nsd-control", "-c", str(self._conf), "reload", zone]
        subprocess.run(command, check=True, capture_output=True, timeout=10)


class Unbound:
    """A validating resolver with the root's key of this world as its only trust anchor.

    Its configuration is the one that perspectives write (validation/dns/unbound.py) and, after it,
    what the world needs: `include`, which a perspective may name as `validation.unbound_include`, together
    with `anchor` as `validation.trust_anchor`.
    """

    def __init__(
        self,
        directory: Path,
        address: str,
        port: int,
        anchor: str,
        stubs: Iterable[tuple[str, str, int]],
        place: Place = list,
    ) -> None:
        directory.mkdir()
        self.anchor = directory / "root.key"
        self.anchor.write_text(anchor + "\n", encoding="ascii")
        self.include = directory / "world.conf"
        self.include.write_text("\n".join(_extras(stubs)) + "\n", encoding="ascii")
        instance = unbound.Instance(
            version=unbound.version(subprocess.check_output([PROGRAM, "-V"], text=True)),
            directory=directory,
            host=address,
            port=port,
            anchor=self.anchor,
            allowed=(ip_network("0.0.0.0/0"), ip_network("::/0")),
            extra=self.include.read_text(),
        )
        conf = directory / "unbound.conf"
        conf.write_text(unbound.configuration(instance), encoding="ascii")
        self.server = Server(place([PROGRAM, "-d", "-p", "-c", str(conf)]), directory / "unbound.log")


def _extras(stubs: Iterable[tuple[str, str, int]]) -> list[str]:
    """The world is on this machine, its name servers not on port 53; trust still follows the DS chain."""
    lines = [
        "server:",
        "  access-control: 0.0.0.0/0 allow",
        "  do-ip6: no",
        "  do-not-query-localhost: no",
        "  infra-host-ttl: 1",
    ]
    for zone, address, port in stubs:
        lines += [
            "stub-zone:",
            f'  name: "{zone or "."}"',
            f"  stub-addr: {address}@{port}",
            "  stub-no-cache: no",
        ]
    return lines


def _user() -> str:
    # Root keeps its rights in the lab: the directories are the test's own and are thrown away.
    return "root" if os.geteuid() == 0 else ""
