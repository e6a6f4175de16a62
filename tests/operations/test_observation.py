"""Health says what a monitor acts upon: it must not call a CA well that cannot issue."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from core import revocations
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Transaction
from core.ephemeral.redis.standing import LATELY, Standing
from core.errors import TransientError
from core.settings import Metrics, Settings
from operations import observation
from operations.alarms.vault import VaultWatch
from signer.api import ActivationState
from signer.client import Vault
from tests.operations.desk.test_holds import two_orders_wait
from tests.support.database import NOW, opened
from tests.world.addresses import free_port

OPEN = ActivationState("token", False, 2, 3, NOW, b"")


@dataclass
class OneVault:
    up: bool = True
    state: ActivationState = OPEN

    async def describe(self) -> None:
        if not self.up:
            raise TransientError("nobody listens at vault.sock")

    async def activation(self) -> ActivationState:
        await self.describe()
        return self.state


async def answer(
    directory: Path,
    clock: FakeClock,
    vault: OneVault,
    then: int = 0,
    halted: str = "",
    redis: Callable[[], Awaitable[Standing]] | None = None,
    unit: Callable[[Transaction], None] = lambda tx: None,
    path: str = "healthz",
) -> tuple[int, str]:
    """The answer of `path`, after the clock moved by `then` seconds; `unit` is what happened before."""
    port = free_port()
    settings = replace(Settings(), metrics=Metrics(listen=(f"127.0.0.1:{port}",)))
    async with opened(directory, clock) as database, AsyncExitStack() as closing:
        await database.write(unit)
        watch = VaultWatch(cast(Vault, vault), database.reader, settings.status, clock, ())
        await watch.look()
        await observation.start(
            closing,
            settings,
            cast(Vault, vault),
            database,
            watch,
            lambda: halted,
            clock,
            redis,
            DataDirectory(directory),
        )
        clock.at += then
        url = f"http://127.0.0.1:{port}/{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as got:
            return got.status, await got.text()


async def health(*arguments: Any, **more: Any) -> tuple[int, Any]:
    """The answer of /healthz."""
    status, text = await answer(*arguments, **more)
    return status, json.loads(text)


async def test_a_well_ca_is_well(tmp_path: Path) -> None:
    status, found = await health(tmp_path, FakeClock(NOW), OneVault())
    assert (status, found["status"]) == (200, "ok")


async def test_a_vault_that_is_away_is_no_health(tmp_path: Path) -> None:
    status, found = await health(tmp_path, FakeClock(NOW), OneVault(up=False))
    assert (status, found["database"]) == (503, "ok")
    assert "vault.sock" in found["vault"]


async def test_a_halted_issuance_is_no_health(tmp_path: Path) -> None:
    status, found = await health(tmp_path, FakeClock(NOW), OneVault(), halted="the journal was cut")
    assert (status, found["issuance"]) == (503, "the journal was cut")


async def test_a_locked_vault_is_no_health_and_says_who_is_missing(tmp_path: Path) -> None:
    state = ActivationState("token", True, 2, 3, NOW, b"", activating=("Aoi",))
    status, found = await health(tmp_path, FakeClock(NOW), OneVault(state=state))
    assert (status, found["issuance"]) == (503, "ok")
    assert found["vault"] == ("vault locked: 2 of 3 people must run `acme-server activate`; 1 here: Aoi")


async def test_an_operators_halt_is_no_health_and_names_the_reason(tmp_path: Path) -> None:
    state = ActivationState("token", False, 2, 3, NOW, b"", halted="root: a drill")
    status, found = await health(tmp_path, FakeClock(NOW), OneVault(state=state))
    assert (status, found["issuance"]) == (503, "halted by root: a drill")


@pytest.mark.clause("BR 6.2.8")
async def test_a_pin_in_a_file_is_told_as_not_conforming(tmp_path: Path) -> None:
    state = ActivationState("token", False, 0, 0, NOW, b"")
    status, found = await health(tmp_path, FakeClock(NOW), OneVault(state=state))
    assert status == 200
    assert found["conformance"] == "not conforming: PIN in a file (BR 6.2.8, CPS 6.2.8)"


async def test_a_database_that_takes_no_writes_is_no_health(tmp_path: Path) -> None:
    """As after a full disk; here the clock went back, which halts the writer as well."""
    status, found = await health(tmp_path, FakeClock(NOW), OneVault(), then=-3600)
    assert status == 503
    assert "clock went back" in found["database"]


async def test_a_redis_that_is_away_is_no_health(tmp_path: Path) -> None:
    async def away() -> Standing:
        raise TransientError("redis.url = redis://h: no answer within 1 s")

    status, found = await health(tmp_path, FakeClock(NOW), OneVault(), redis=away)
    assert (status, found["vault"]) == (503, "ok")
    assert "no answer" in found["redis"]


@pytest.mark.parametrize(
    ("since", "says"),
    [(NOW - 60, "nonces given out before"), (NOW - LATELY, "ok"), (None, "ok")],
    ids=["lately", "long ago", "never"],
)
async def test_an_epoch_of_nonces_that_began_lately_is_said(
    tmp_path: Path, since: int | None, says: str
) -> None:
    async def there() -> Standing:
        return Standing(since)

    status, found = await health(tmp_path, FakeClock(NOW), OneVault(), redis=there)
    assert status == 200
    assert found["redis"].startswith(says)


async def test_orders_that_wait_for_a_person_are_counted(tmp_path: Path) -> None:
    clock, vault = FakeClock(NOW), OneVault()
    assert "acme_orders_held 0.0" in (await answer(tmp_path, clock, vault, path="metrics"))[1]
    assert "holds" not in (await health(tmp_path, clock, vault))[1]
    waiting = await answer(tmp_path, clock, vault, unit=two_orders_wait, path="metrics")
    assert "acme_orders_held 2.0" in waiting[1]
    status, found = await health(tmp_path, clock, vault)
    assert (status, found["holds"]) == (200, "2 orders wait for a person: acme-server holds list")


@pytest.mark.clause("BR 4.9.5")
@pytest.mark.clause("requirements 2.55")
async def test_a_revocation_that_no_crl_tells_is_named_when_half_of_its_time_is_gone(tmp_path: Path) -> None:
    clock = FakeClock(NOW)

    def revoked(tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO issuers (id, use, algorithm, certificate, chain, crl_shards, added_at)"
            " VALUES ('ec1', 'issuing', 'ec-p256', x'', x'', 1, 0)"
        )
        tx.execute(
            "INSERT INTO certificates (id, serial, issuer_id, crl_shard, state, profile, names, spki_sha256,"
            " not_before, not_after, versions, created_at)"
            " VALUES ('c', x'01', 'ec1', 0, 'issued', 'p', '[]', x'', 0, ?, '{}', 0)",
            (NOW + 90 * 86400,),
        )
        revocations.revoke(tx, b"\x01", 1, "a test")

    _, found = await health(tmp_path, clock, OneVault(), unit=revoked)
    assert "revocations" not in found
    status, found = await health(tmp_path, clock, OneVault(), then=43200)
    assert status == 200  # no reason to send subscribers elsewhere
    assert found["revocations"] == [
        "revocations: 1 certificates are not on a published CRL, due 2026-11-24 00:00 UTC (BR 4.9.5): look "
        "at the vault and the CRL alarms in the app's log"
    ]
