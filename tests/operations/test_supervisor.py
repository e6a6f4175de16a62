from __future__ import annotations

import os
import resource
import socket
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.settings import Metrics, Settings, SiteSettings, Vault
from operations.children import Child, ChildFailed, Children
from operations.supervisor import (
    Invocation,
    _start_all,
    alone,
    check_ports,
    check_prerequisites,
    let_all_open_files,
    run,
)


def test_a_missing_token_library_is_named_with_the_remedy(tmp_path: Path) -> None:
    settings = replace(Settings(), vault=Vault(module="/nonexistent/libtoken.so"))
    with pytest.raises(ConfigurationError, match="scripts/system-packages"):
        check_prerequisites(settings, DataDirectory(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / ("x" * 100))
    with pytest.raises(ConfigurationError, match="shorter data directory"):
        check_prerequisites(replace(Settings(), vault=Vault(module=__file__)), data)
    assert not data.root.exists()


def test_a_port_in_use_names_its_setting() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        settings = replace(Settings(), metrics=Metrics(listen=(taken,)))
        with pytest.raises(ConfigurationError, match=r"(acme|repository|metrics)\.listen"):
            check_ports(settings)


def test_a_data_directory_has_one_supervisor(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.run.mkdir()
    with alone(data):
        with pytest.raises(ConfigurationError, match=f"process {os.getpid()}"), alone(data):
            pass
        assert (data.run / "supervisor.pid").exists()
    with alone(data):
        pass


def test_all_may_open_more_files_than_a_shell_lets_them() -> None:
    _, most = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))
        let_all_open_files(2048)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (2048, most)
        let_all_open_files(1024)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (2048, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_children_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = Invocation(Path("config.toml"), Path("data"), ("ca.country=JP",)).arguments()
    expected = ["--data", str(tmp_path / "data"), "--config", str(tmp_path / "config.toml")]
    assert words == [*expected, "--set", "ca.country=JP"]


def test_a_configuration_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--config"):
        Invocation(tmp_path / "none.toml", tmp_path).settings()


@pytest.mark.clause("CPS 6.5")
def test_the_lock_of_the_supervisor_follows_no_link_to_another_file(tmp_path: Path) -> None:
    data, victim = DataDirectory(tmp_path / "data"), tmp_path / "victim"
    data.run.mkdir(parents=True)
    victim.write_text("as it was")
    (data.run / "supervisor.pid").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), alone(data):
        pass
    assert victim.read_text() == "as it was"


@pytest.mark.parametrize("broken", ["sites", "status"])
async def test_test_sites_that_do_not_start_hold_up_no_ca_but_anything_else_does(broken: str) -> None:
    started: list[str] = []
    said: list[str] = []

    class Family:
        async def start(self, child: Child) -> None:
            if child.role == broken:
                raise ChildFailed(f"{child.name} did not start")
            started.append(child.role)

    settings = replace(Settings(), test_sites=SiteSettings(zone="test.localhost"))
    starting = _start_all(cast(Children, Family()), settings, said.append)
    if broken == "sites":
        await starting
        assert "WARNING: sites did not start; the CA runs without its test sites" in said[-1]
    else:
        with pytest.raises(ChildFailed):
            await starting
    assert {"vault", "perspective", "app"} <= set(started)


def test_a_second_run_touches_nothing_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.isolation.arrange", lambda *_: pytest.fail("sockets are taken away here"))
    data = DataDirectory(tmp_path)
    data.run.mkdir()
    with alone(data), pytest.raises(ConfigurationError, match=f"runs already .process {os.getpid()}"):
        run(Invocation(None, tmp_path), print, SystemClock())
