"""An installation as in production: from the wheel, each process its own system user, a loss and a restore.

Real users, modes, token, certbot and openssl, and the capabilities that deploy/acme-server.service leaves.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.clock import SystemClock
from operations.isolation import SAME_USER, USERS
from status.ocsp.index.index import Index
from status.ocsp.index.records import HASH_NAMES, serial_of
from tests.support import installation
from tests.support.ca import RunningCa
from tests.support.clients import Certbot, check, eventually, load, ocsp, on_crl
from tests.support.installation import Installation

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root gives processes users of their own"),
    pytest.mark.skipif(installation.python() is None, reason="no Python here that other users can run"),
]

SOON = 30.0
"""Seconds for what takes one or two on a machine with nothing else to do."""

SECRETS = {
    "vault/pin": "vault",
    "vault/root-pin": "vault",
    "tls/password": "app",
    "bindings/secret": "app",
    "perspectives/local/passphrase": "perspective",
    "status/secret": "status",
}
"""Files below the data directory -> the role whose process may read them, and no other."""


@pytest.fixture(scope="module")
def place() -> Iterator[Installation]:
    with installation.installed() as made:
        yield made


@pytest.fixture(scope="module")
def ca(place: Installation) -> Iterator[RunningCa]:
    made = RunningCa(
        place.directory,
        {"deployment.isolate": True, "status.crl_delay": 1},
        config=place.config,
        program=place.service,
    )
    try:
        yield made.start()
    finally:
        made.stop()


def command(place: Installation, ca: RunningCa, *words: str, role: str = "") -> tuple[int, str]:
    """Exit code and output of `acme-server WORDS`, as root or as the user of `role`."""
    asked = [*place.program[len(place.entry) :], *words, *ca.options()]
    ran = place.run([*(place.like(role) if role else place.entry), *asked])
    return ran.returncode, ran.stdout + ran.stderr


def status_page(ca: RunningCa, certificate: Path) -> dict[str, object]:
    serial = load(certificate).serial_number
    found = json.loads(ca.get(f"{ca.public_url}/status/?format=json&serial={serial:x}"))
    only: dict[str, object] = found["certificates"][0]
    return only


def report(ca: RunningCa, description: str) -> str:
    """The number on the receipt."""
    words = ["--form", "kind=misuse", "--form", f"description={description}", f"{ca.public_url}/report/"]
    said = subprocess.run(
        ["curl", "--silent", "--header", "Accept: application/json", *words],
        check=True,
        capture_output=True,
        timeout=SOON,
    )
    return str(json.loads(said.stdout)["number"])


def lies_ready(ca: RunningCa, certificate: Path, *, revoked: bool) -> bool:
    """Whether the keeper's answers about it, by both hashes, say so: all that is left without a register."""
    index = Index(ca.data / "status" / "answers", SystemClock(), every=0)
    index.look()
    serial = load(certificate).serial_number
    found = [each for _, each in index.all() if int.from_bytes(serial_of(each.key)) == serial]
    return [each.revoked_at is not None for each in found] == [revoked] * len(HASH_NAMES)


def reports(place: Installation, ca: RunningCa) -> str:
    return command(place, ca, "reports", "list")[1]


@pytest.mark.clause("CPS 5.7.4")
@pytest.mark.clause("BR 4.9.10")
def test_it_issues_is_lost_and_is_put_back_and_status_is_told_all_the_while(
    place: Installation, ca: RunningCa
) -> None:
    eventually(lambda: "each its own system user" in ca.log_end(), SOON, "the screen that says so")
    certbot = Certbot(ca, place.directory / "certbot")
    kept, gone = "kept.localhost", "gone.localhost"
    certbot.http01(kept).ok()
    files = certbot.certificate(kept), certbot.chain(kept)
    check(ca, *files, kept)
    assert status_page(ca, files[0])["status"] == "good"
    first = report(ca, "seen while it runs")
    eventually(lambda: first in reports(place, ca), SOON, "the app takes the report up")

    backup = place.directory / "ca.sqlite.backup"
    with closing(sqlite3.connect(ca.data / "ca.sqlite")) as source, closing(sqlite3.connect(backup)) as to:
        source.backup(to)
    certbot.http01(gone).ok()
    late = certbot.certificate(gone), certbot.chain(gone)
    serial = f"{load(files[0]).serial_number:x}"
    words = ("revoke", serial, "--cause", "subscriber-request", "--reason", "superseded")
    revoked = command(place, ca, *words)
    assert revoked[0] == 0, revoked[1]
    eventually(lambda: on_crl(ca, load(files[0]), files[1]), SOON, "the revocation on its CRL")
    eventually(lambda: lies_ready(ca, files[0], revoked=True), SOON, "the keeper signs that it is revoked")
    eventually(lambda: lies_ready(ca, late[0], revoked=False), SOON, "the keeper signs that it is good")

    # All but the status process dies, and nobody starts it again: the supervisor is stopped.
    os.kill(ca.pid, signal.SIGSTOP)
    for name in ("app", "keeper", "vault", "perspective"):
        for pid in ca.processes(name):
            os.kill(pid, signal.SIGKILL)
    for old in ca.data.glob("ca.sqlite*"):
        old.unlink()
    assert (ocsp(ca, *files), ocsp(ca, *late)) == ("revoked", "good")
    assert on_crl(ca, load(files[0]), files[1])
    assert status_page(ca, files[0])["status"] == "revoked"
    assert json.loads(ca.get(f"{ca.public_url}/manifest.json"))["crls"]
    second = report(ca, "seen while the CA is away")
    ca.kill9_all()

    # As docs/operations.md has it: root copies the backup into its place and starts.
    shutil.copy(backup, ca.data / "ca.sqlite")
    (ca.data / "ca.sqlite").chmod(0o600)
    ca.start()
    assert ocsp(ca, *files) == "revoked"
    assert command(place, ca, "reconcile")[0] != 0
    accepted = command(place, ca, "reconcile", "--accept", "a drill", role="app")
    assert accepted[0] == 0, accepted[1]
    eventually(lambda: ocsp(ca, *late) == "revoked", SOON, "what nobody knows any more is revoked")
    certbot.http01("new.localhost").ok()
    check(ca, certbot.certificate("new.localhost"), certbot.chain("new.localhost"), "new.localhost")
    eventually(lambda: second in reports(place, ca), SOON, "the report that waited is taken up")
    assert ocsp(ca, *files) == "revoked"


def test_each_process_has_its_user_and_none_reads_anothers_secrets(
    place: Installation, ca: RunningCa
) -> None:
    uids = {}
    for role in ("vault", "perspective", "app", "keeper", "status"):
        (pid,) = ca.processes(role)
        uids[role] = uid_of(pid)
    assert 0 not in uids.values()
    assert uids.pop("keeper") == uids[SAME_USER["keeper"]]
    assert len(set(uids.values())) == len(uids)
    for name, owner in SECRETS.items():
        readers = [
            role
            for role in USERS
            if not place.run([*place.like(role), "cat", str(ca.data / name)]).returncode
        ]
        assert readers == [owner], name


def uid_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Uid:")))


def test_no_log_has_a_secret(ca: RunningCa) -> None:
    said = "".join(path.read_text() for path in (*ca.data.glob("log/*"), *ca.data.glob("audit/*"), ca.log))
    assert "operations.process: vault serves" in said
    for name in SECRETS:
        assert (ca.data / name).read_text().strip() not in said, name


def test_a_second_run_is_refused_and_the_first_answers_on(place: Installation, ca: RunningCa) -> None:
    code, output = command(place, ca, "run")
    assert (code, "runs already" in output) == (3, True), output
    code, output = command(place, ca, "status")
    assert code == 0, output


def test_another_process_is_told_who_may_command(place: Installation, ca: RunningCa) -> None:
    code, output = command(place, ca, "reports", "list", role="perspective")
    assert (code, "be root, or the user" in output) == (4, True), output
