"""Test sites that come up by themselves, a watch that looks, and then one thing breaks at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ca import REPOSITORY, RunningCa

pytestmark = pytest.mark.long

EXPIRED_LIFE = 5
"""Seconds that the expired site's certificate lives here."""


@dataclass
class Watched:
    ca: RunningCa
    directory: Path

    def look(self, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit status, and what was found."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "operations.cli", "watch", "--json"),
                *("--repository", f"http://localhost:{self.ca.public_port}"),
                *(
                    "--anchor",
                    str(self.ca.trust_anchor),
                    "--state",
                    str(self.directory / "watch"),
                    "--timeout",
                    "2",
                    *words,
                ),
            ],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=120,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)["findings"]

    def not_well(self, *words: str) -> set[tuple[str, str]]:
        return {(each["check"], each["state"]) for each in self.look(*words)[1] if each["state"] != "ok"}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("watched")
    settings: dict[str, Any] = {
        "test_sites.zone": "test.localhost",
        "test_sites.expired_life": EXPIRED_LIFE,
        "status.crl_delay": 1,
    }
    ca = RunningCa(directory, settings)
    sites = {"test_sites.listen": [f"127.0.0.1:{ca.tls_alpn_port}"]}
    ca = _again(directory, settings | sites, ca)
    try:
        yield Watched(ca.start(), directory)
    finally:
        ca.stop()


def _again(directory: Path, settings: dict[str, Any], like: RunningCa) -> RunningCa:
    """With the same ports."""
    ports = {"validation.tls_alpn_port": like.tls_alpn_port}
    made = RunningCa(directory, settings | ports)
    made.tls_alpn_port = like.tls_alpn_port
    return made


@pytest.mark.clause("BR 2.2")
@pytest.mark.clause("requirements 2.85")
def test_the_test_sites_come_up_by_themselves_and_a_canary_flies(watched: Watched) -> None:
    deadline = time.monotonic() + 60
    while (found := watched.not_well()) and time.monotonic() < deadline:
        # While the expired one has not expired nobody is there; nothing else may be wrong for long.
        time.sleep(1)
    assert found == set()
    canary = ("--canary-name", "canary.localhost", "--canary-listen", f"127.0.0.1:{watched.ca.http_port}")
    code, findings = watched.look(*canary)
    assert [each for each in findings if each["state"] != "ok"] == []
    assert code == 0
    flown = [each["check"] for each in findings if each["check"].startswith("canary")]
    assert flown == ["canary-issue", "canary-good", "canary-revoke", "canary-ocsp", "canary-crl"]
    assert sum(each["check"].startswith("site-") for each in findings) == 6


def test_an_old_crl_put_back_is_told(watched: Watched) -> None:
    file = watched.ca.data / "repository/crl/ec-1-0.crl"
    newest = file.read_bytes()
    shutil.copy(file, watched.directory / "old.crl")
    name = ("--canary-name", "canary.localhost", "--canary-every", "0")
    assert watched.not_well(*name, "--canary-listen", f"127.0.0.1:{watched.ca.http_port}") == set()
    assert file.read_bytes() != newest
    kept = file.read_bytes()
    shutil.copy(watched.directory / "old.crl", file)
    found = watched.not_well()
    file.write_bytes(kept)
    assert ("crl", "fail") in found


def test_sites_that_are_away_are_told_and_come_back_with_what_they_had(watched: Watched) -> None:
    (pid,) = watched.ca.processes("sites")
    os.kill(pid, signal.SIGSTOP)
    try:
        found = watched.not_well()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found == {("site-valid", "fail"), ("site-revoked", "fail"), ("site-expired", "fail")}
    watched.ca.kill9("sites")
    deadline = time.monotonic() + 60
    while (found := watched.not_well()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found == set()


def test_a_ca_whose_acme_server_is_away_still_has_everything_for_relying_parties(watched: Watched) -> None:
    (pid,) = watched.ca.processes("app")
    os.kill(pid, signal.SIGSTOP)
    try:
        found = watched.not_well()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found == {("acme-directory", "fail")}
