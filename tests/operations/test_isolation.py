from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.settings import Deployment, Settings
from operations import isolation
from operations.isolation import Isolation
from repo_static.store import Store


def test_isolation_that_is_not_wanted_is_not_claimed(tmp_path: Path) -> None:
    settings = replace(Settings(), deployment=Deployment(isolate=False))
    found = isolation.decide(settings, DataDirectory(tmp_path))
    assert not found.on
    assert found.spawn_options("vault") == {}


def test_isolation_is_not_claimed_where_the_data_cannot_be_reached(tmp_path: Path) -> None:
    hidden = tmp_path / "private"
    hidden.mkdir(mode=0o700)
    found = isolation.decide(Settings(), DataDirectory(hidden / "data"))
    assert not found.on
    assert found.reason


def test_private_directories_are_private_without_isolation_too(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    isolation.arrange(Isolation("a test"), data)
    for path in (data.tokens, data.vault, data.perspectives, data.reports, data.log):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_arranging_twice_changes_nothing(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    isolation.arrange(Isolation("a test"), data)
    before = {path: path.stat().st_mode for path in data.root.rglob("*")}
    isolation.arrange(Isolation("a test"), data)
    assert {path: path.stat().st_mode for path in data.root.rglob("*")} == before


def test_a_process_without_a_user_of_its_own_knows_no_roles() -> None:
    assert isolation.roles() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_as_root_each_role_gets_its_own_user() -> None:
    options = {role: Isolation("").spawn_options(role) for role in isolation.USERS}
    assert len({option["user"] for option in options.values()}) == len(isolation.USERS)
    sites = options.pop("sites")
    status = options.pop("status")
    assert {option["group"] for option in options.values()} == {isolation.GROUP}
    # The test sites are in no group that may read the database or use a socket.
    assert (sites["group"], sites["extra_groups"]) == ("acme-ca-sites", [])
    # What status makes is of its own group, in which is the app and nobody else.
    assert (status["group"], status["extra_groups"]) == ("acme-ca-status", ["acme-ca"])
    assert options["app"]["extra_groups"] == ["acme-ca-app", "acme-ca-status"]
    assert options["perspective"]["extra_groups"] == []
    assert options["vault"]["extra_groups"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_what_a_ceremony_makes_beside_a_running_ca_goes_to_its_owner_and_the_sockets_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "user_uid", lambda name: 4711)
    monkeypatch.setattr(isolation, "GROUP", "root")
    data = DataDirectory(tmp_path)
    for path in (data.tokens, data.vault, data.perspectives, data.run):
        path.mkdir()
    made = (data.tokens / "key", data.vault / "hierarchy.json", data.vault_socket)
    for path in made:
        path.touch()
    isolation.give_back(Isolation(""), data)
    assert [path.stat().st_uid for path in made] == [4711, 4711, 0]
    isolation.give_back(Isolation("not isolated"), data)


@pytest.mark.clause("CPS 2.4")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_who_serves_the_public_files_can_read_and_not_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    uids = {name: 47_000 + number for number, name in enumerate(isolation.USERS.values())}
    group = 47_100
    monkeypatch.setattr(isolation, "user_uid", uids.__getitem__)
    monkeypatch.setattr(isolation, "user_gid", lambda name: uids[name])
    monkeypatch.setattr("grp.getgrnam", lambda name: type("Group", (), {"gr_gid": group}))
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        data = DataDirectory(Path(directory) / "data")
        store = Store(data.repository)
        data.repository.mkdir(parents=True)
        store.replace("crl/ec1-0.crl", b"crl")
        store.replace("manifest.json", b"manifest")
        isolation.arrange(Isolation(""), data)

        status, app = isolation.USERS["status"], isolation.USERS["app"]

        def tried(user: str, *words: str) -> int:
            options: dict[str, Any] = {"user": uids[user], "group": group, "extra_groups": []}
            if user == app:
                options["extra_groups"] = [uids[app], uids[status]]
            elif user == status:
                options |= {"group": uids[status], "extra_groups": [group]}
            command = ["/bin/sh", "-c", " ".join(words)]
            ran = subprocess.run(command, cwd=data.repository, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
            return int(ran.returncode)

        assert tried(status, "cat crl/ec1-0.crl manifest.json >/dev/null") == 0
        for act in (
            "echo x >> crl/ec1-0.crl",
            "echo x > crl/new.crl",
            "rm -f manifest.json",
            "mv manifest.json other.json",
            "mkdir issued",
            "ln -s /etc/passwd link.txt",
            "chmod 777 .",
            "mv ../repository ../elsewhere",
        ):
            assert tried(status, act) != 0, act
        assert tried(app, "echo x > crl/new.crl") == 0
        # After a restore the app reads what was answered; it writes nothing there, and no secret is its own.
        kept, secret = "../status/answers/segment-1", "../status/secret"
        assert tried(status, f"umask 027; echo x > {kept}; echo x > {secret}; chmod 600 {secret}") == 0
        assert tried(app, f"cat {kept} >/dev/null") == 0
        assert tried(isolation.USERS["perspective"], f"cat {kept}") != 0
        for act in (f"echo x >> {kept}", f"rm -f {kept}", f"cat {secret}"):
            assert tried(app, act) != 0, act
        # A report is written by status, read and taken away by the app, and seen by nobody else.
        assert tried(status, "umask 027; echo x > ../reports/report") == 0
        assert tried(isolation.USERS["perspective"], "cat ../reports/report") != 0
        assert tried(app, "cat ../reports/report > /dev/null && rm ../reports/report") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_no_directory_needs_a_bit_that_systemd_forbids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RestrictSUIDSGID=yes of deploy/acme-server.service: chmod with these bits is EPERM."""
    monkeypatch.setattr(isolation, "user_uid", lambda name: 0)
    monkeypatch.setattr(isolation, "user_gid", lambda name: 0)
    monkeypatch.setattr(isolation, "GROUP", "root")
    data = DataDirectory(tmp_path / "data")
    isolation.arrange(Isolation(""), data)
    bits = stat.S_ISUID | stat.S_ISGID
    assert [path for path in data.root.rglob("*") if path.stat().st_mode & bits] == []


@pytest.fixture
def given_to_4711(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    """A data directory that was arranged once; all its users are 4711."""
    monkeypatch.setattr(isolation, "user_uid", lambda name: 4711)
    monkeypatch.setattr(isolation, "user_gid", lambda name: 4711)
    monkeypatch.setattr(isolation, "GROUP", "root")
    data = DataDirectory(tmp_path / "data")
    isolation.arrange(Isolation(""), data)
    return data


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_link_in_the_place_of_a_file_leads_root_to_no_other(
    given_to_4711: DataDirectory,
) -> None:
    data = given_to_4711
    secret = data.root.parent / "shadow"
    secret.write_text("of root")
    for trap in (data.root / "ca.sqlite-of-mine", data.log / "access.log"):
        trap.symlink_to(secret)
        with pytest.raises(ConfigurationError, match=f"{trap} .*take away"):
            isolation.arrange(Isolation(""), data)
        trap.unlink()
    assert secret.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_process_cannot_have_another_directory_given_to_it(given_to_4711: DataDirectory) -> None:
    data = given_to_4711
    etc = data.root.parent / "etc"
    etc.mkdir()
    data.ocsp_files.rmdir()
    data.ocsp_files.symlink_to(etc)
    os.chown(data.ocsp_files, 4711, 4711, follow_symlinks=False)
    with pytest.raises(ConfigurationError, match="symbolic link that uid 4711 made"):
        isolation.arrange(Isolation(""), data)
    assert etc.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_an_operator_may_lay_a_directory_on_another_disk(given_to_4711: DataDirectory) -> None:
    data = given_to_4711
    disk = data.root.parent / "disk"
    data.audit.rename(disk)
    data.audit.symlink_to(disk)
    isolation.arrange(Isolation(""), data)
    assert disk.stat().st_uid == 4711


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_files_that_root_put_back_go_to_their_process(given_to_4711: DataDirectory) -> None:
    data = given_to_4711
    files = (data.database, data.log / "access.log", data.answers / "catalogue", data.audit / "1.jsonl")
    for path in files:
        path.write_text("from a backup")
        path.chmod(0o600)
    isolation.arrange(Isolation(""), data)
    assert {path.stat().st_uid for path in files} == {4711}
    assert stat.S_IMODE(data.database.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_what_another_user_left_in_run_is_in_nobodys_way_and_locks_stay(given_to_4711: DataDirectory) -> None:
    data = given_to_4711
    locks = {data.run / "supervisor.pid", data.run / "ceremony.lock"}
    for path in (*locks, data.vault_socket, data.keeper_state, data.run / ".keeper.json.new"):
        path.write_text("")
    isolation.arrange(Isolation(""), data)
    assert set(data.run.iterdir()) == locks
