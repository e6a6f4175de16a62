from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.settings import Settings, Status
from operations.children import Child, ChildFailed, Children, of
from operations.isolation import Isolation

STUB = """
import os, signal, sys, time
words = sys.argv[1:]
role, ready = words[0], int(words[words.index("--ready-fd") + 1])
if role == "refuses":
    print("2026-01-01 CRITICAL operations.process: vault.pin_file: no such file; name yours", file=sys.stderr)
    sys.exit(3)
if role == "forks":
    worker = os.fork()
    if not worker:
        while True:
            signal.pause()
    with open(sys.argv[0] + ".worker", "w") as file:
        file.write(str(worker))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
os.write(ready, b"ready\\n")
os.close(ready)
while True:
    signal.pause()
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.run.mkdir(parents=True)
    made.log.mkdir()
    return made


@pytest.fixture
async def family(data: DataDirectory, tmp_path: Path) -> AsyncIterator[Children]:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    made = Children(data, Isolation("a test"), [], said.append, program=(sys.executable, str(stub)))
    said.clear()
    yield made
    await made.stop()


said: list[str] = []
SERVER = Child("server", "serves")


def pid_of(data: DataDirectory, child: Child) -> int:
    return int((data.run / f"{child.name}.pid").read_text())


async def test_a_child_is_started_once_it_says_so(family: Children, data: DataDirectory) -> None:
    await family.start(SERVER)
    os.kill(pid_of(data, SERVER), 0)


async def test_a_child_that_refuses_to_start_is_quoted(family: Children) -> None:
    with pytest.raises(ChildFailed, match=r"vault\.pin_file: no such file; name yours"):
        await family.start(Child("refuser", "refuses"))


async def test_a_dead_child_is_started_again(family: Children, data: DataDirectory) -> None:
    await family.start(SERVER)
    first = pid_of(data, SERVER)
    keeper = asyncio.create_task(family.keep(SERVER))
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(20):
        while not any("serves again" in line for line in said):
            await asyncio.sleep(0.01)
    assert pid_of(data, SERVER) != first
    assert "SIGKILL" in said[0]
    keeper.cancel()


async def test_a_stop_leaves_no_process_and_no_pid_file(family: Children, data: DataDirectory) -> None:
    await family.start(SERVER)
    pid = pid_of(data, SERVER)
    await family.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(data.run.iterdir()) == []


async def test_a_child_has_a_process_group_of_its_own(family: Children, data: DataDirectory) -> None:
    # Else a Ctrl-C in the terminal would stop all of them at once, and in no order.
    await family.start(SERVER)
    assert os.getpgid(pid_of(data, SERVER)) == pid_of(data, SERVER)


async def test_the_workers_of_a_killed_child_do_not_outlive_it(
    family: Children, data: DataDirectory, tmp_path: Path
) -> None:
    forks = Child("forks", "forks")
    await family.start(forks)
    worker = int((tmp_path / "stub.py.worker").read_text())
    keeper = asyncio.create_task(family.keep(forks))
    os.kill(pid_of(data, forks), signal.SIGKILL)
    async with asyncio.timeout(20):
        while not dead(worker):
            await asyncio.sleep(0.01)
    keeper.cancel()


def dead(pid: int) -> bool:
    """Whether the process has ended, also when nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.clause("CPS 6.5")
async def test_no_name_that_another_process_made_leads_root_to_another_file(
    family: Children, data: DataDirectory, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    (data.run / "server.pid").symlink_to(victim)
    await family.start(SERVER)
    assert pid_of(data, SERVER)
    log = data.log / "other.log"
    log.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        await family.start(Child("other", "serves"))
    assert victim.read_text() == "as it was"


def test_there_are_as_many_status_workers_as_settings_say_and_one_keeper() -> None:
    names = [child.name for child in of(replace(Settings(), status=Status(workers=3)))]
    assert [name for name in names if name.startswith("status")] == ["status", "status-2", "status-3"]
    assert names.count("keeper") == 1
    assert names.index("app") < names.index("keeper")
