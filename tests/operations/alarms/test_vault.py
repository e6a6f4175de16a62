"""A locked vault is told of ever more urgently, and what waited goes on when it opens."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from core.clock import FakeClock
from core.database import Database, Transaction
from core.errors import CaError, TransientError
from core.metrics import render
from core.settings import Settings
from operations.alarms.urgency import Urgency
from operations.alarms.vault import Deadline, VaultWatch, crl_deadlines, ocsp_deadlines
from signer.api import ActivationState
from signer.client import Vault
from tests.support.database import NOW, opened

STATUS = Settings().status
OPEN = ActivationState("token", False, 2, 3, NOW, b"")
LOCKED = replace(OPEN, locked=True)
OCSP_MARGIN = STATUS.ocsp_validity - STATUS.ocsp_refresh
CRL_MARGIN = STATUS.crl_validity - STATUS.crl_refresh


@dataclass
class OneVault:
    state: ActivationState | CaError

    async def activation(self) -> ActivationState:
        if isinstance(self.state, CaError):
            raise self.state
        return self.state


@dataclass
class World:
    clock: FakeClock
    database: Database
    vault: OneVault
    watch: VaultWatch
    went_on: list[str]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock(NOW)
    async with opened(tmp_path, clock) as database:
        vault = OneVault(OPEN)
        went_on: list[str] = []

        async def later() -> None:
            went_on.append("later")

        watch = VaultWatch(
            cast(Vault, vault), database.reader, STATUS, clock, (lambda: went_on.append("now"), later)
        )
        yield World(clock, database, vault, watch, went_on)


async def publish_crl(database: Database, issuer: str, number: int, next_update: int) -> None:
    def unit(tx: Transaction) -> None:
        tx.execute(
            "INSERT OR IGNORE INTO issuers (id, use, algorithm, certificate, chain, crl_shards, added_at)"
            " VALUES (?, 'issuing', 'ec-p256', x'00', x'00', 1, 0)",
            (issuer,),
        )
        tx.execute(
            "INSERT INTO crls"
            " (issuer_id, shard, number, this_update, next_update, revocation_version, sha256)"
            " VALUES (?, 0, ?, 0, ?, 0, x'01')",
            (issuer, number, next_update),
        )

    await database.write(unit)


def test_urgency_rises_at_half_and_at_a_quarter_of_the_margin() -> None:
    deadline = Deadline("CRL", NOW + 100, 100)
    found = {left: deadline.urgency(NOW + 100 - left) for left in (100, 51, 50, 26, 25, 1, 0, -1)}
    assert found == {
        100: Urgency.CALM,
        51: Urgency.CALM,
        50: Urgency.HALF,
        26: Urgency.HALF,
        25: Urgency.MOST,
        1: Urgency.MOST,
        0: Urgency.OVER,
        -1: Urgency.OVER,
    }


@pytest.mark.clause("BR 4.9.7")
async def test_the_newest_crl_of_each_scope_counts_and_ocsp_while_locked(world: World) -> None:
    await publish_crl(world.database, "a", 1, NOW + 10)
    await publish_crl(world.database, "a", 2, NOW + 500)
    await publish_crl(world.database, "b", 1, NOW + 300)
    await publish_crl(world.database, "ended", 1, NOW - STATUS.crl_validity - 1)
    reader = world.database.reader
    assert {each.what: each.at for each in crl_deadlines(reader, STATUS, NOW)} == {
        "CRL a-0": NOW + 500,
        "CRL b-0": NOW + 300,
    }
    assert ocsp_deadlines(STATUS, OPEN) == []
    assert ocsp_deadlines(STATUS, LOCKED) == [Deadline("OCSP answers", NOW + OCSP_MARGIN, OCSP_MARGIN)]


@pytest.mark.clause("BR 4.9.10")
async def test_a_locked_vault_alarms_at_once_at_half_at_a_quarter_and_when_it_is_too_late(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "operations.alarms.vault")
    await publish_crl(world.database, "a", 1, NOW + CRL_MARGIN + 3600)
    await world.watch.look()
    assert caplog.messages == []
    world.vault.state = LOCKED
    told = []
    for at in (0, 1, OCSP_MARGIN // 2, OCSP_MARGIN * 3 // 4, OCSP_MARGIN):
        world.clock.at = NOW + at
        caplog.clear()
        await world.watch.look()
        told.append(caplog.messages[0] if caplog.messages else "")
    assert told[0] == (
        "vault locked: 2 of 3 people must run `acme-server activate` - OCSP answers: nextUpdate in 72 h 0 min"
    )
    assert told[1] == ""
    assert told[2].startswith("ACT TODAY: half of the time is gone - vault locked")
    assert told[3].startswith("ACT NOW: a quarter of the time is left - vault locked")
    assert told[4].startswith("TOO LATE: status has expired")
    shown = render().decode()
    assert "acme_vault_locked 1.0" in shown
    assert "acme_status_urgency 3.0" in shown


async def test_a_crl_that_is_not_renewed_alarms_though_the_vault_is_open(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "operations.alarms.vault")
    await publish_crl(world.database, "a", 1, NOW + CRL_MARGIN)
    world.clock.at = NOW + CRL_MARGIN // 2
    await world.watch.look()
    assert caplog.messages == ["ACT TODAY: half of the time is gone - CRL a-0: nextUpdate in 72 h 0 min"]


async def test_the_same_alarm_is_repeated_the_more_often_the_more_urgent_it_is(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "operations.alarms.vault")
    world.vault.state = LOCKED
    for begin, again in ((0, 3600), (OCSP_MARGIN * 3 // 4, 300)):
        world.clock.at = NOW + begin
        caplog.clear()
        await world.watch.look()
        world.clock.at += again - 1
        await world.watch.look()
        assert len(caplog.messages) == 1
        world.clock.at += 1
        await world.watch.look()
        assert len(caplog.messages) == 2


async def test_what_waited_goes_on_once_when_the_vault_opens_and_when_issuance_resumes(world: World) -> None:
    await world.watch.look()
    assert world.went_on == ["now", "later"]  # the app has just started: it may have waited for this
    await world.watch.look()
    assert world.went_on == ["now", "later"]
    for unable in (LOCKED, replace(OPEN, halted="root: drill"), TransientError("away")):
        world.went_on.clear()
        world.vault.state = unable
        await world.watch.look()
        assert world.went_on == []
        world.vault.state = OPEN
        await world.watch.look()
        assert world.went_on == ["now", "later"]
