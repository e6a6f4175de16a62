"""`acme-server run` as a whole: its processes start, stop, and never stay behind."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import sqlite3
import subprocess
import urllib.error
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from operations.process import Exit
from tests.support.ca import RunningCa

WAIT = 30
"""Seconds; a stop takes one or two."""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> RunningCa:
    """A CA of this module's own: each test starts and ends it.  The first start holds the ceremony."""
    return RunningCa(tmp_path_factory.mktemp("run"), {"status.crl_delay": 1})


def members(ca: RunningCa) -> list[int]:
    """Every process that was started for this data directory, and those that they started."""
    found: dict[int, int] = {}
    ours = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            group = int((path / "stat").read_text().rpartition(")")[2].split()[2])
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found[int(path.name)] = group
        if str(ca.data).encode() in words:
            ours.add(group)
    return [pid for pid, group in found.items() if group in ours]


def status(ca: RunningCa) -> dict[str, object]:
    shown = subprocess.run(ca.command("status", "--json"), capture_output=True, text=True, check=False)
    found: dict[str, object] = json.loads(shown.stdout)
    return found


def gone(pids: list[int]) -> bool:
    """Whether all of them end in time."""
    poll = select.poll()
    waiting = {}
    for pid in pids:
        try:
            waiting[os.pidfd_open(pid)] = pid
        except ProcessLookupError:
            continue
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    while waiting:
        ended = poll.poll(WAIT * 1000)
        if not ended:
            return False
        for descriptor, _ in ended:
            poll.unregister(descriptor)
            os.close(descriptor)
            del waiting[descriptor]
    return True


def test_ctrl_c_stops_every_process(ca: RunningCa) -> None:
    ca.start()
    before = members(ca)
    assert len(before) >= 7  # the supervisor, four processes, and the vault's lint workers
    os.kill(ca.pid, signal.SIGINT)
    assert gone(before)
    assert ca.process is not None
    assert ca.process.wait(WAIT) == Exit.DONE
    assert status(ca)["running"] is False


def test_a_killed_supervisor_leaves_no_orphans(ca: RunningCa) -> None:
    ca.start()
    before = members(ca)
    os.kill(ca.pid, signal.SIGKILL)
    assert gone(before)
    ca.stop()


def test_status_says_what_does_not_conform(ca: RunningCa) -> None:
    ca.start()
    found = status(ca)
    ca.stop()
    assert found["running"] is True
    assert any("PIN" in line for line in found["not_conforming"])  # type: ignore[attr-defined]
    assert found["isolated"] is False


@pytest.mark.clause("BR 4.9.3")
@pytest.mark.clause("requirements 1.07")
@pytest.mark.clause("RFC 8555 section 7.1.1")
def test_a_new_ca_serves_its_documents_and_the_terms_that_its_directory_names(ca: RunningCa) -> None:
    ca.start()
    terms = ca.get(ca.public_url + urlsplit(ca.terms).path).decode()
    cps = ca.get(f"{ca.public_url}/cps/latest.html").decode()
    manifest = json.loads(ca.get(f"{ca.public_url}/manifest.json"))
    digests = {
        hashlib.sha256(ca.get(ca.public_url + urlsplit(each["url"]).path)).hexdigest() == each["sha256"]
        for each in manifest["documents"]
    }
    ca.stop()
    assert "Terms of Use" in terms
    assert "4.9.12 Special requirements" in cps
    assert digests == {True}


def test_a_ca_whose_journal_was_cut_serves_its_subscribers_but_issues_nothing(ca: RunningCa) -> None:
    journal = ca.data / "vault/journal"
    ca.start()
    ca.stop()
    whole = journal.read_bytes()
    journal.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    ca.start()
    with pytest.raises(urllib.error.HTTPError) as unwell:
        ca.get(f"http://127.0.0.1:{ca.metrics_port}/healthz")
    assert "replaced or cut" in json.load(unwell.value)["issuance"]
    unwell.value.close()
    ca.stop()
    journal.write_bytes(whole)
    ca.start()
    assert json.loads(ca.get(f"http://127.0.0.1:{ca.metrics_port}/healthz"))["issuance"] == "ok"
    ca.stop()


def test_a_base_url_that_accounts_are_bound_to_cannot_change(ca: RunningCa) -> None:
    with sqlite3.connect(ca.data / "ca.sqlite") as database:
        database.execute("INSERT OR REPLACE INTO facts VALUES ('base_url', 'https://elsewhere.example')")
    refused = subprocess.run(ca.command("run"), capture_output=True, text=True, timeout=120, check=False)
    with sqlite3.connect(ca.data / "ca.sqlite") as database:
        database.execute("DELETE FROM facts WHERE name = 'base_url'")
    assert refused.returncode == Exit.CONFIGURATION
    assert "https://elsewhere.example" in refused.stderr
    assert "Traceback" not in refused.stderr
