"""A perspective's own Unbound: real ones, that are killed, stopped, orphaned and given rubbish to read."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from core.data_directory import DataDirectory
from core.errors import ConfigurationError, TransientError
from core.randomness import SystemRandomness
from core.settings import Ca, Deployment, Rules, Settings, Validation
from tests.support.unbounds import opened, validation_in
from tests.world.servers import PROGRAM
from tests.world.world import World
from validation.dns import eyes, unbound
from validation.dns.held_port import HOST, HeldPort
from validation.dns.own_unbound import OwnUnbound
from validation.dns.resolver import Type

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).parents[3]

TEMPLATE = """
server:
  interface: 127.0.0.1@PORT
  username: ""
  chroot: ""
  use-syslog: no
  directory: "{directory}"
  pidfile: ""
"""
"""An Unbound that needs nothing."""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def well_again(resolver: OwnUnbound) -> bool:
    """Whether a look-up succeeds within some seconds."""
    for _ in range(400):
        try:
            return (await resolver.lookup("www.example.com", Type.A)).authenticated
        except TransientError:
            await asyncio.sleep(0.02)
    return False


@pytest.mark.must("rfc8555.11.2.own-resolvers")
@pytest.mark.row("dns.unbound", "dns.secure", "mpic.no-sharing")
async def test_each_perspective_has_one_of_its_own_that_validates(world: World, tmp_path: Path) -> None:
    async with (
        opened(validation_in(world), tmp_path, "one") as one,
        opened(validation_in(world), tmp_path, "two") as two,
    ):
        for resolver in (one, two):
            answer = await resolver.lookup("www.example.com", Type.A)
            assert (answer.records, answer.authenticated) == ((bytes([127, 0, 0, 1]),), True)
            assert answer.resolver in str(resolver)
        assert one.pid != two.pid
        assert str(one) != str(two)
        pids = [one.pid, two.pid]
    assert not any(lives(pid) for pid in pids if pid)
    assert (tmp_path / "perspectives" / "one" / "unbound").stat().st_mode & 0o777 == 0o700


@pytest.mark.row("errors.server-internal")
async def test_a_killed_one_is_a_fault_of_ours_until_it_is_started_again_on_another_port(
    world: World, tmp_path: Path
) -> None:
    async with opened(validation_in(world), tmp_path) as resolver:
        first, where = resolver.pid, str(resolver)
        assert first is not None
        under_way = asyncio.create_task(resolver.lookup("silence.of-nobody.example", Type.A))
        os.kill(first, signal.SIGKILL)
        await until(lambda: str(resolver) != where)
        with pytest.raises(TransientError, match="being started again"):
            await resolver.lookup("www.example.com", Type.A)
        await asyncio.gather(under_way, return_exceptions=True)
        assert await well_again(resolver)
        assert resolver.pid != first
        assert str(resolver) != where


@pytest.mark.row("errors.server-internal")
async def test_a_stopped_one_is_a_fault_of_ours_until_it_goes_on(world: World, tmp_path: Path) -> None:
    async with opened(validation_in(world), tmp_path) as resolver:
        assert resolver.pid is not None
        os.kill(resolver.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TransientError, match="no DNS resolver answers"):
                await resolver.lookup("www.example.com", Type.CAA)
        finally:
            os.kill(resolver.pid, signal.SIGCONT)
        assert await well_again(resolver)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_it_runs_with_the_rights_of_its_perspective_and_needs_no_more(world: World) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        instance = eyes.instance_of(Settings(validation=validation_in(world)), directory)
        program = directory / "as-nobody"
        program.write_text(f'#!/bin/sh\nexec setpriv --reuid nobody --clear-groups {PROGRAM} "$@"\n')
        program.chmod(0o755)
        instance.anchor.write_text(world.root_anchor())

        def write(port: int) -> str:
            return unbound.configuration(replace(instance, port=port))

        own = OwnUnbound(program, directory, write, SystemRandomness())
        await own.start()
        status = Path(f"/proc/{own.pid}/status").read_text()
        assert (await own.lookup("www.example.com", Type.A)).authenticated
        await own.stop()
    assert f"Uid:\t{pwd.getpwnam('nobody').pw_uid}\t" in status


async def test_one_that_hangs_is_killed_and_started_again(world: World, tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_text(TEMPLATE.format(directory=tmp_path))

    def write(port: int) -> str:
        return template.read_text().replace("@PORT", f"@{port}")

    own = OwnUnbound(Path(PROGRAM), tmp_path, write, SystemRandomness(), look_every=0.1)
    await own.start()
    keeping = asyncio.create_task(own.keep())
    hanging = own.pid
    assert hanging is not None
    os.kill(hanging, signal.SIGSTOP)
    try:
        await until(lambda: own.pid not in (None, hanging) and "no port" not in str(own))
        assert not lives(hanging)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await own.stop()


async def test_one_that_does_not_start_is_refused_with_its_last_words(world: World, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.conf"
    rubbish.write_text("server:\n  interface: 192.0.2.1\n")  # nobody's, so that it cannot be had
    with pytest.raises(ConfigurationError, match=r"did not start.*192\.0\.2\.1"):
        async with opened(validation_in(world, include=rubbish), tmp_path):
            pass


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ({"unbound": "/usr/sbin/no-unbound"}, r"validation\.unbound: .*system-packages"),
        ({"unbound": "unbound"}, "whole path"),
        ({"unbound": "/bin/true"}, "name an Unbound"),
        ({"unbound_include": "/no/file"}, r"validation\.unbound_include"),
        ({"trust_anchor": "/no/file"}, r"validation\.trust_anchor"),
    ],
)
async def test_what_is_not_there_is_named(tmp_path: Path, setting: dict[str, str], remedy: str) -> None:
    validation = Validation(**{"unbound": "/usr/sbin/unbound", **setting})
    with pytest.raises(ConfigurationError, match=remedy):
        async with opened(validation, tmp_path):
            pass


@pytest.mark.row("dns.no-loosening")
@pytest.mark.clause("BR 3.2.2.8.1")
async def test_a_public_ca_in_production_takes_no_other_root(world: World, tmp_path: Path) -> None:
    settings = Settings(
        ca=Ca(rules=Rules.PUBLIC), deployment=Deployment(production=True), validation=validation_in(world)
    )
    with pytest.raises(ConfigurationError, match="IANA"):
        async with eyes.opened(settings, DataDirectory(tmp_path), "local", SystemRandomness()):
            pass


@pytest.mark.row("attacks.poisoning")
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_no_user_of_the_machine_can_have_its_port_while_it_runs_or_when_it_is_dead(
    world: World, tmp_path: Path, kind: socket.SocketKind, address: str
) -> None:
    """Unbound itself would let them: Linux gives a datagram to the last who bound with SO_REUSEADDR."""
    async with opened(validation_in(world), tmp_path) as resolver:
        assert resolver.pid is not None
        port = int(str(resolver).rpartition(":")[2])
        for alive in (True, False):
            if not alive:
                os.kill(resolver.pid, signal.SIGKILL)
                while lives(resolver.pid):
                    os.sched_yield()
            with socket.socket(socket.AF_INET, kind) as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    thief.bind((address, port))


@pytest.mark.row("attacks.poisoning")
async def test_a_port_that_a_thief_has_had_first_is_not_believed() -> None:
    port = HeldPort()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind((HOST, port.number))
        port.shut()
        assert port.is_held_by(os.getpid())
        assert not port.is_held_by(os.getppid())
    assert not port.is_held_by(os.getpid())
    port.close()


def test_it_ends_with_its_perspective_even_when_that_is_killed(world: World, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from core.randomness import SystemRandomness\n"
        "from validation.dns.own_unbound import OwnUnbound\n"
        "async def main():\n"
        "    text = Path(sys.argv[1]).read_text()\n"
        "    write = lambda port: text.replace('@PORT', f'@{port}')\n"
        "    own = OwnUnbound(Path('/usr/sbin/unbound'), Path(sys.argv[2]), write, SystemRandomness())\n"
        "    await own.start()\n"
        "    print(own.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    template = tmp_path / "template"
    template.write_text(TEMPLATE.format(directory=tmp_path))
    command = [sys.executable, "-c", script, str(template), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as perspective:
        assert perspective.stdout is not None
        child = int(perspective.stdout.readline())
        assert lives(child)
        perspective.kill()
        perspective.wait()
    for _ in range(500):
        if not lives(child):
            return
        os.sched_yield()
        subprocess.run(["sleep", "0.01"], check=True)
    pytest.fail("Unbound outlived its perspective")
