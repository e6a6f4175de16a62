"""The servers that are measured: our own CA, and Debian's pebble beside it, both in the tests' world."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.ca import RunningCa
from tests.world.addresses import free_port

START_SECONDS = 60


class Server(Protocol):
    """A running ACME server."""

    @property
    def name(self) -> str: ...
    @property
    def directory_url(self) -> str: ...
    @property
    def trust_anchor(self) -> Path: ...
    @property
    def pid(self) -> int: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pebble:
    """Debian's pebble, with sleeping, refused nonces and authorization reuse off."""

    directory_url: str
    trust_anchor: Path
    process: subprocess.Popen[bytes]
    name: str = "pebble"

    @classmethod
    def start(cls, directory: Path, resolver: str, http_port: int) -> Pebble:
        """Start it with files in `directory`, validating through `resolver` on `http_port`."""
        program = shutil.which("pebble")
        if program is None:
            raise RuntimeError("pebble is missing: apt-get install pebble")
        directory.mkdir()
        certificate, key = directory / "tls.pem", directory / "tls.key"
        subprocess.run(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            f"-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
            f"-keyout {key} -out {certificate}".split(),
            check=True,
            capture_output=True,
        )
        port = free_port()
        config = {
            "listenAddress": f"127.0.0.1:{port}",
            "managementListenAddress": f"127.0.0.1:{free_port()}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        (directory / "pebble.json").write_text(json.dumps({"pebble": config}))
        settings = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        with (directory / "pebble.log").open("wb") as log:
            process = subprocess.Popen(
                [program, "-config", str(directory / "pebble.json"), "-dnsserver", resolver],
                stdout=log,
                stderr=log,
                env={**os.environ, **settings},
            )
        peer = cls(f"https://localhost:{port}/dir", certificate, process)
        wait_for(peer)
        return peer

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)


@dataclass(frozen=True, slots=True)
class Ours:
    """Our CA with its default settings, its files in a directory of its own."""

    ca: RunningCa
    name: str = "ours"

    @classmethod
    def start(cls, directory: Path, resolver: str, http_port: int) -> Ours:
        """Start it with files in `directory`, validating through `resolver` on `http_port`."""
        settings = {"validation.resolvers": [resolver], "validation.http_port": http_port}
        return cls(RunningCa(directory, settings).start())

    @property
    def directory_url(self) -> str:
        """Of the ACME server."""
        return self.ca.directory_url

    @property
    def trust_anchor(self) -> Path:
        """The root."""
        return self.ca.trust_anchor

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self.ca.pid

    def stop(self) -> None:
        """End it."""
        self.ca.stop()


def wait_for(server: Server) -> None:
    """Return when the directory is served."""
    context = ssl.create_default_context(cafile=str(server.trust_anchor))
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(server.directory_url, context=context, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                server.stop()
                raise
            time.sleep(0.05)
