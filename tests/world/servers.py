"""Runs the real name servers of the world: NSD for each level, and a validating Unbound over them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

START_SECONDS = 20
"""A name server that does not answer by then will not."""


Place = Callable[[Sequence[str]], list[str]]
"""Makes of a command one that runs elsewhere (tests/world/net.py)."""


class Server:
    """A child process in the foreground, its output in a log file."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

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

    The options are those we recommend to operators (docs/operations.md), except that addresses of the
    machine itself may be asked and answered, since the whole world is on loopback.
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
        conf = directory / "unbound.conf"
        (directory / "root.key").write_text(anchor + "\n", encoding="ascii")
        lines = [
            "server:",
            f"  interface: {address}@{port}",
            "  access-control: 127.0.0.0/8 allow",
            "  do-ip6: no",
            "  num-threads: 1",
            f'  username: "{_user()}"',
            '  chroot: ""',
            f'  directory: "{directory}"',
            f'  pidfile: "{directory}/unbound.pid"',
            "  use-syslog: no",
            '  logfile: ""',
            '  module-config: "validator iterator"',
            f'  trust-anchor-file: "{directory}/root.key"',
            "  do-not-query-localhost: no",
            "  val-permissive-mode: no",
            "  ignore-cd-flag: yes",
            "  harden-glue: yes",
            "  harden-dnssec-stripped: yes",
            "  harden-below-nxdomain: yes",
            "  harden-algo-downgrade: yes",
            "  harden-large-queries: yes",
            "  harden-short-bufsize: yes",
            "  use-caps-for-id: yes",
            "  qname-minimisation: yes",
            "  ede: yes",
            "  val-log-level: 2",
            "  serve-expired: no",
            "  prefetch: no",
            "  aggressive-nsec: no",
            "  cache-max-ttl: 60",
            "  cache-max-negative-ttl: 60",
            "  edns-buffer-size: 1232",
            "  outgoing-range: 4096",
            "  num-queries-per-thread: 2048",
            "  infra-host-ttl: 1",
            "  discard-timeout: 0" if _knows_discard_timeout() else "",
        ]
        for zone, server_address, server_port in stubs:
            # Stub zones only because the lab's servers are not on port 53; trust still follows the DS chain.
            lines += [
                "stub-zone:",
                f'  name: "{zone or "."}"',
                f"  stub-addr: {server_address}@{server_port}",
                "  stub-no-cache: no",
            ]
        lines += ["remote-control:", "  control-enable: no"]
        conf.write_text("\n".join(lines) + "\n", encoding="ascii")
        command = place(["/usr/sbin/unbound", "-d", "-p", "-c", str(conf)])
        self.server = Server(command, directory / "unbound.log")


def _user() -> str:
    # Root keeps its rights in the lab: the directories are the test's own and are thrown away.
    return "root" if os.geteuid() == 0 else ""


def _knows_discard_timeout() -> bool:
    """Newer Unbounds silently drop slow replies unless told not to; older ones do not know the option."""
    shown = subprocess.run(["/usr/sbin/unbound", "-V"], capture_output=True, text=True, check=False)
    version = shown.stdout.split("Version", 1)[-1].split()[0]
    return tuple(int(part) for part in version.split(".")[:2]) >= (1, 20)
