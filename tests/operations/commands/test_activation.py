"""The commands of people at the vault: what they refuse before anything leaves, and what they say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.rpc import RpcServer
from operations.process import Exit
from operations.screens import activation_lines
from operations.vault_notice import notice
from signer import api
from signer.vault.people import shares
from tests.support.ca import REPOSITORY
from tests.support.people import PASSPHRASE, Crew, crew

TOKEN = "0123456789abcdef"
LOCKED = api.ActivationState(TOKEN, True, 2, 3, 0, bytes(31) + b"\x09")


@dataclass
class Room:
    """A vault's socket that notes what comes, three people, and their files."""

    data: DataDirectory
    crew: Crew
    keys: Path
    came: list[api.ActivateRequest] = field(default_factory=list)
    halts: list[api.HaltRequest] = field(default_factory=list)

    async def run(self, *words: str, passphrase: str = PASSPHRASE) -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "operations.cli", *words, "--data", str(self.data.root)],
            input=passphrase + "\n",
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    data = DataDirectory(tmp_path_factory.mktemp("room"))
    data.run.mkdir()
    people = crew(3)
    made = shares.split(bytes(range(16)), 2, [each.person for each in people], TOKEN)
    found = Room(data, Crew(people, made.shares), tmp_path_factory.mktemp("keys"))
    rpc = RpcServer()

    async def state(_: api.Nothing) -> api.ActivationState:
        return LOCKED

    async def activate(request: api.ActivateRequest) -> api.ActivationState:
        found.came.append(request)
        return replace(LOCKED, activating=("Aoi",))

    async def halt(request: api.HaltRequest) -> api.ActivationState:
        found.halts.append(request)
        return replace(LOCKED, locked=False, halted=f"{request.actor}: {request.reason}")

    rpc.add(api.ACTIVATION, state)
    rpc.add(api.ACTIVATE, activate)
    rpc.add(api.HALT, halt)
    await rpc.listen(data.vault_socket)
    yield found
    await rpc.close()


async def test_a_share_leaves_sealed_and_the_screen_says_who_is_missing(room: Room) -> None:
    code, said = await room.run("activate", *room.crew.files(room.keys, 0))
    assert (code, said.strip()) == (
        Exit.DONE,
        "The vault is LOCKED: 1 of 2 are here to activate it (Aoi); 1 more must come.",
    )
    (request,) = room.came
    part = room.crew.shares[0].open(room.crew.people[0])
    assert (request.holder_id, request.index) == (room.crew.people[0].person.id, 1)
    assert part not in request.sealed


async def test_a_wrong_passphrase_a_foreign_share_and_no_share_send_nothing(room: Room) -> None:
    mine, others = room.crew.files(room.keys, 0), room.crew.files(room.keys, 1)
    for words, passphrase, code, reason in (
        (mine, "wrong", Exit.REFUSED, "person.passphrase"),
        ([*mine[:2], *others[2:]], PASSPHRASE, Exit.REFUSED, "is not Aoi's share"),
        (mine[:2], PASSPHRASE, Exit.CONFIGURATION, "name its file with --share"),
        (["--identity", str(room.keys / "nobody")], PASSPHRASE, Exit.CONFIGURATION, "cannot be read"),
    ):
        found, said = await room.run("activate", *words, passphrase=passphrase)
        assert found == code, said
        assert reason in said
        assert PASSPHRASE not in said
    assert room.came == []


async def test_a_passphrase_is_read_from_a_file_for_automation(room: Room) -> None:
    file = room.keys / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    words = [*room.crew.files(room.keys, 0), "--passphrase-file", str(file)]
    code, said = await room.run("activate", *words, passphrase="not this one")
    assert code == Exit.DONE, said
    assert len(room.came) == 1
    for command in ("deactivate", "resume"):
        _, said = await room.run(command, *words[:2], "--passphrase-file", str(room.keys / "none"))
        assert "does not exist" in said


async def test_a_share_is_found_where_the_ceremony_left_it(room: Room) -> None:
    identity = room.crew.files(room.keys, 0)[:2]
    directory = room.data.shares / "issuing"
    directory.mkdir(parents=True)
    room.crew.shares[0].save(directory / f"{room.crew.people[0].person.id}.share.json")
    code, said = await room.run("activate", *identity)
    assert code == Exit.DONE, said
    assert len(room.came) == 1


async def test_a_halt_carries_who_typed_it_and_why(room: Room) -> None:
    code, said = await room.run("halt", "--reason", "a key was seen")
    assert code == Exit.DONE
    assert "Issuance is HALTED by" in said
    assert room.halts[0].reason == "a key was seen"
    assert f"uid {os.getuid()}" in room.halts[0].actor


async def test_without_a_vault_the_command_says_that_nothing_runs(tmp_path: Path) -> None:
    room = Room(DataDirectory(tmp_path), Crew((), ()), tmp_path)
    code, said = await room.run("halt", "--reason", "x")
    assert code == Exit.NOT_RUNNING
    assert "acme-server status" in said


def test_the_lines_tell_each_state_in_words() -> None:
    active = replace(LOCKED, locked=False)
    assert activation_lines(active) == ["The vault is active: its token is open."]
    assert activation_lines(LOCKED) == [
        "The vault is LOCKED: 2 of 3 people must activate it, within ten minutes of each other."
    ]
    assert activation_lines(replace(active, deactivating=("Aoi",)))[0].startswith(
        "The vault is active: 1 of 2 are here to lock it (Aoi)"
    )
    halted = replace(active, halted="root: drill")
    assert activation_lines(halted)[1:] == [
        "Issuance is HALTED by root: drill",
        "It waits: 2 of 3 people must resume it, within ten minutes of each other.",
    ]
    assert activation_lines(replace(halted, threshold=0))[2] == "`acme-server resume` ends it."
    assert notice(LOCKED)[1].startswith("Each of them: acme-server activate")
