"""What relying parties are shown: a TLS server for each certificate, and its files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.clients import program
from tests.world.addresses import free_port


@dataclass(frozen=True, slots=True)
class Site:
    """A host with its certificate; files are PEM: `issuer` the issuing CA, `crls` of the whole chain.

    `port` is where a TLS server shows it, 0 when there is none: nobody has the key of a certificate that was
    never issued.
    """

    host: str
    certificate: Path
    chain: Path
    key: Path
    issuer: Path
    root: Path
    crls: Path
    ocsp_url: str
    port: int = 0


class TlsServer:
    """`openssl s_server` with one certificate, no stapling."""

    def __init__(self, chain: Path, key: Path) -> None:
        self.port = free_port()
        words = ["s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", chain, "-cert_chain", chain]
        self._process = subprocess.Popen(
            [program("openssl"), *words, "-key", key, "-www", "-quiet"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until_it_listens(self.port)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class WebServer:
    """nginx or Apache in the foreground, in a process group of its own."""

    def __init__(self, command: list[str], port: int, cwd: Path) -> None:
        self._process = subprocess.Popen(command, cwd=cwd, start_new_session=True)
        until_it_listens(port)

    def stop(self) -> None:
        """End it with its workers."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def until_it_listens(port: int) -> None:
    """Wait until a connection to the port on loopback is taken; at most 10 s."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
