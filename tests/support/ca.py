"""A whole CA as its real processes, for tests and the benchmark: started, killed, started again, stopped."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.processes import tree
from tests.world.addresses import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 120
"""The first start makes keys in the token; RSA keys take their time on a busy machine."""
STOP_SECONDS = 30


class RunningCa:
    """A CA in `directory`, on ports of its own.

    `settings` are `--set` overrides, "section.key" -> a TOML value as Python data.  `config` is the
    configuration file, `program` the command line.  The CA validates http-01 on `http_port`, tls-alpn-01 on
    `tls_alpn_port`, and may reach loopback.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        config: Path = REPOSITORY / "config.toml",
        arguments: Sequence[str] = (),
        program: Sequence[str] = (sys.executable, "-m", "operations.cli"),
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.config = config
        self.http_port = free_port()
        self.tls_alpn_port = free_port()
        self.acme_port = free_port()
        self.public_port = free_port()
        self.metrics_port = free_port()
        self._arguments = list(arguments)
        self._program = program
        self._settings: dict[str, Any] = {
            "acme.listen": [f"127.0.0.1:{self.acme_port}"],
            "acme.base_url": f"https://localhost:{self.acme_port}",
            "acme.tls_names": ["localhost", "127.0.0.1"],
            "repository.listen": [f"127.0.0.1:{self.public_port}"],
            "repository.base_url": f"http://localhost:{self.public_port}",
            "metrics.listen": [f"127.0.0.1:{self.metrics_port}"],
            "validation.http_port": self.http_port,
            "validation.tls_alpn_port": self.tls_alpn_port,
            "validation.allowed_networks": ["127.0.0.0/8", "::1/128"],
            # Test directories are private to the user who runs the tests: other system users cannot enter.
            "deployment.isolate": False,
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / "run.log"

    @property
    def base_url(self) -> str:
        """Of the ACME server."""
        return str(self._settings["acme.base_url"])

    @property
    def directory_url(self) -> str:
        """The ACME directory."""
        return f"{self.base_url}/directory"

    @property
    def terms(self) -> str:
        """The page of the terms of service, as the directory names it."""
        return str(json.loads(self.get(self.directory_url))["meta"]["termsOfService"])

    @property
    def public_url(self) -> str:
        """Where OCSP, CRLs and the repository are reached in this test (whatever the certificates say)."""
        return f"http://127.0.0.1:{self.public_port}"

    @property
    def trust_anchor(self) -> Path:
        """The root certificate (PEM)."""
        return self.data / "trust-anchor.pem"

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None
        return self.process.pid

    def command(self, *words: str) -> list[str]:
        """`acme-server WORDS` with this CA's configuration."""
        return [*self._program, *words, *self.options()]

    def options(self) -> list[str]:
        """The options of this CA's configuration, for the command line and for single processes."""
        options = ["--config", str(self.config), "--data", str(self.data)]
        for key, value in self._settings.items():
            options += ["--set", f"{key}={json.dumps(value)}"]
        return options

    def start(self) -> RunningCa:
        """Start it and wait until the directory is served.  Raises RuntimeError with the log's end."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command("run"), *self._arguments],
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the CA did not start:\n{self.log_end()}")
            time.sleep(0.05)
        return self

    def answers(self) -> bool:
        """Whether the directory is served now."""
        if not self.trust_anchor.exists():
            return False
        try:
            self.get(f"https://localhost:{self.acme_port}/directory")  # its base URL may be a proxy's
            self.get(f"{self.public_url}/trust-anchor.pem")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def wait_until_it_answers(self) -> None:
        """After a kill: return when the supervisor has everything running again."""
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the CA did not come back:\n{self.log_end()}")
            time.sleep(0.05)

    def get(
        self, url: str, data: bytes | None = None, content_type: str = "", trust: Path | None = None
    ) -> bytes:
        """GET (or POST `data`), trusting this CA's root only, or what is in `trust`."""
        context = ssl.create_default_context(cafile=str(trust or self.trust_anchor))
        headers = {"Content-Type": content_type} if content_type else {}
        request = urllib.request.Request(url, data=data, headers=headers)
        with urllib.request.urlopen(
            request, context=context if url.startswith("https") else None, timeout=10
        ) as response:
            body: bytes = response.read()
        return body

    def kill9(self, name: str) -> None:
        """SIGKILL one process: "app", "vault", "status", "perspective" (the first), or "supervisor"."""
        for pid in [self.pid] if name == "supervisor" else self.processes(name)[:1]:
            os.kill(pid, signal.SIGKILL)

    def kill9_all(self) -> None:
        """SIGKILL the whole tree at once, as a power cut would."""
        for pid in tree(self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        assert self.process is not None
        self.process.wait(10)

    def processes(self, name: str) -> list[int]:
        """The ids of the running processes of the room `name`."""
        found = []
        for pid in tree(self.pid)[1:]:
            words = _command_line(pid)
            if "operations.process" in words and words[words.index("operations.process") + 1] == name:
                found.append(pid)
        return found

    def stop(self) -> None:
        """Ctrl-C; by force when it does not obey."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill9_all()
        self.process = None

    def log_end(self, characters: int = 4000) -> str:
        """The end of the supervisor's output."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-characters:]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
