"""A CA is started while its clock is back: whoever asks for status is served, and nothing is issued.

Real processes and a real token.  The clock of this machine stays; the register and the vault's journal have
seen a later time.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.client import FlowFailed
from core.clock import FakeClock
from core.database import Database
from signer.vault.record.journal import Journal, Kind
from tests.journeys.test_restore import crl_numbers, eventually_agree, revoke_all, says, subscribe
from tests.support.ca import RunningCa
from tests.world.world import World

pytestmark = [pytest.mark.long, pytest.mark.clause("BR 4.9.3"), pytest.mark.clause("BR 4.10.2")]

AHEAD = 3600


@pytest.fixture
def ca(world: World, tmp_path: Path) -> Iterator[RunningCa]:
    made = RunningCa(tmp_path, {"validation.resolvers": [world.resolver], "status.crl_delay": 1})
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_a_ca_that_starts_with_its_clock_back_revokes_and_issues_nothing(ca: RunningCa) -> None:
    chains = asyncio.run(subscribe(ca, "before", 2, revoke=[]))
    ca.stop()
    asyncio.run(see_the_future(ca, int(time.time()) + AHEAD))
    ca.start()
    numbers = crl_numbers(ca)
    revoke_all(ca, chains[:1])
    eventually_agree(ca)
    assert [says(ca, each)[0] for each in chains] == ["revoked", "good"]
    assert crl_numbers(ca) != numbers
    with pytest.raises((AssertionError, FlowFailed)):
        asyncio.run(subscribe(ca, "closed", 1, revoke=[], seconds=3))
    assert "clock went back" in health(ca)
    shown = subprocess.run(ca.command("status"), check=False, capture_output=True, text=True)
    assert "the clock is" in shown.stdout


async def see_the_future(ca: RunningCa, at: int) -> None:
    """The newest record of the register, and of the vault's journal, is of then."""
    clock = FakeClock(at)
    database = Database(ca.data / "ca.sqlite", clock)
    await database.open()
    await database.write(lambda tx: tx.audit("test", "a test", {}))
    await database.close()
    journal = Journal(ca.data / "vault" / "journal", clock)
    await journal.append(Kind.BLOCKED_KEY, tbs=bytes(32))
    journal.close()


def health(ca: RunningCa) -> str:
    try:
        return ca.get(f"http://127.0.0.1:{ca.metrics_port}/healthz").decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
