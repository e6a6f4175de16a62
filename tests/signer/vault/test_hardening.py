"""The vault's process: no core, no debugger, and after an activation nothing of the PIN in its memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.settings import Settings
from signer.client import Vault
from signer.vault import hardening
from signer.vault.people import shares
from signer.vault.sealed import hierarchy
from signer.vault.sealed.seal import TokenRole
from tests.support.memory import found_in
from tests.support.people import Crew, hand_over
from tests.support.vault import RunningVault

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into the vault's process")


@pytest.fixture(scope="module")
def locked(
    ceremony: DataDirectory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DataDirectory, Crew, int]]:
    root = tmp_path_factory.mktemp("hard") / "data"
    shutil.copytree(ceremony.root, root)
    data = DataDirectory(root)
    crew = hand_over(data)
    process = RunningVault(data).start()
    assert process.process is not None
    yield data, crew, process.process.pid
    process.stop()


@as_root
@pytest.mark.clause("CPS 6.4.2")
async def test_a_share_that_waits_is_in_memory_and_after_the_opening_neither_share_nor_pin_is(
    locked: tuple[DataDirectory, Crew, int],
) -> None:
    data, crew, pid = locked
    parts = {share.index: share.open(who) for share, who in zip(crew.shares, crew.people, strict=True)}
    token = hierarchy.load(data, Settings()).token(TokenRole.ISSUING)
    assert token.activation is not None
    secret = shares.combine(parts, 2, token.activation.check, token.serial)
    needles = {
        "PIN": bytes(shares.pin_of(secret)),
        "secret": bytes(secret),
        "share 1": parts[1],
        "share 2": parts[2],
    }
    vault = Vault(data.vault_socket)
    try:
        await vault.activate(crew.request(0, await vault.activation()))
        waiting = found_in(pid, needles)
        await vault.activate(crew.request(1, await vault.activation()))
        opened = found_in(pid, needles)
    finally:
        await vault.close()
    # The first look shows that the second one could have found something.
    assert waiting["share 1"] >= 1
    assert waiting | {"share 1": 0} == dict.fromkeys(needles, 0)
    assert opened == dict.fromkeys(needles, 0)


@as_root
@pytest.mark.clause("CPS 6.5")
def test_the_vault_dumps_no_core_nobody_traces_it_and_its_memory_is_locked(
    locked: tuple[DataDirectory, Crew, int],
) -> None:
    process = Path(f"/proc/{locked[2]}")
    limits = process.joinpath("limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    status = dict(line.split(":", 1) for line in process.joinpath("status").read_text().splitlines())
    if hardening.may_lock_memory():
        assert int(status["VmLck"].split()[0]) > 0


def test_in_production_memory_that_can_reach_a_swap_device_is_refused() -> None:
    for locked, swap in ((True, True), (True, False), (False, False)):
        hardening.must_not_leak(locked=locked, swap=swap, production=True)
    hardening.must_not_leak(locked=False, swap=True, production=False)
    with pytest.raises(ConfigurationError, match="LimitMEMLOCK=infinity"):
        hardening.must_not_leak(locked=False, swap=True, production=True)
