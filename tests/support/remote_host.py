"""A perspective's own host in tests: `acme-server perspective CODE` as a process with its own directory."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.data_directory import DataDirectory
from core.randomness import SystemRandomness
from core.settings import Perspective
from tests.support.elsewhere import OURS, ZONE, Pki
from tests.world.addresses import free_port
from validation.keys import generate_key

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 30
STOP_SECONDS = 20


class RemoteHost:
    """The host of the perspective `code`; `validation` and `mpic` are settings of these sections."""

    def __init__(
        self,
        directory: Path,
        pki: Pki,
        code: str,
        region: str = "APNIC",
        validation: Mapping[str, Any] | None = None,
        mpic: Mapping[str, Any] | None = None,
    ) -> None:
        directory.mkdir(parents=True)
        self.code, self.region = code, region
        self.data = DataDirectory(directory / "data")
        self.port = free_port()
        spki = generate_key(self.data.perspective(code), SystemRandomness())
        public = serialization.load_der_public_key(spki)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        self.spki, self.public_key = spki, public
        pki.give(self.data.channel(code), code)
        self._config = directory / "config.toml"
        sections: dict[str, Mapping[str, Any]] = {
            "ca": {"caa_identities": [OURS]},
            "validation": validation or {},
            "mpic": {"zone": ZONE, "listen": [f"127.0.0.1:{self.port}"], **(mpic or {})},
        }
        lines: list[str] = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        lines += ["[[validation.perspectives]]", f'code = "{code}"', f'region = "{region}"']
        self._config.write_text("\n".join(lines) + "\n")
        self.log = directory / "perspective.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def perspective(self) -> Perspective:
        """As the coordinator's settings name it."""
        return Perspective(self.code, self.region, url=f"https://127.0.0.1:{self.port}")

    def __enter__(self) -> RemoteHost:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it serves."""
        heard, said = os.pipe()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "operations.process", "perspective", "--code", self.code),
                    *("--data", str(self.data.root), "--config", str(self._config)),
                    *("--ready-fd", str(said)),
                ],
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
                pass_fds=(said,),
            )
        os.close(said)
        try:
            readable, _, _ = select.select([heard], [], [], START_SECONDS)
            assert readable, self.log.read_text()
            assert os.read(heard, 16), self.log.read_text()
        finally:
            os.close(heard)

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(STOP_SECONDS)
