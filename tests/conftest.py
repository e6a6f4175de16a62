"""Fixtures that several rooms' tests share: the fake Internet, and a CA that runs as its real processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import scratch
from tests.support.ca import RunningCa
from tests.world import namespaces
from tests.world.door import Door
from tests.world.internet import Internet
from tests.world.world import World

# How long an example takes says nothing on a machine that runs other tests beside this one.  The quick tests
# draw the same examples every time, so that a failure is one of the change; the long ones draw anew.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

_SCRATCH = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Tests' directories are in memory where that may be; --basetemp says otherwise."""
    if config.option.basetemp is None and (directory := scratch.directory()) is not None:
        config.option.basetemp = str(directory)
        config.stash[_SCRATCH] = directory


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What failing tests left can be looked at until the next run."""
    if exitstatus == pytest.ExitCode.OK and _SCRATCH in session.config.stash:
        shutil.rmtree(session.config.stash[_SCRATCH], ignore_errors=True)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Real name servers on loopback for the whole session; tests use names of their own in it."""
    with World() as running:
        yield running


@pytest.fixture(scope="session")
def internet() -> Iterator[Internet]:
    """Perspectives in network namespaces, with an attacker's network: needs root, like CI."""
    if not namespaces.possible():
        pytest.skip("network namespaces need root")
    with Internet() as running:
        yield running


@pytest.fixture(scope="session")
def door(world: World) -> Iterator[str]:
    """The URL at which clients' hooks change the world's TXT records."""
    with Door(world) as opened:
        yield opened.url


@pytest.fixture(scope="session")
def ca(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    """A CA under private rules in the world, for tests that do not kill it or turn its settings."""
    directory = tmp_path_factory.mktemp("ca")
    high_risk = directory / "high-risk.txt"
    high_risk.write_text("high-risk.example.com\n")
    running = RunningCa(
        directory,
        {
            "ca.high_risk": str(high_risk),
            "profiles.both-sides.client_auth": True,
            "validation.resolvers": [world.resolver],
            "status.crl_delay": 1,
            "acme.external_account": "optional",
        },
    )
    try:
        yield running.start()
    finally:
        running.stop()
