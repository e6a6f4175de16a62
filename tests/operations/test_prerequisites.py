"""operations/prerequisites.py: what a start refuses, `check-config` refuses first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from acme_server.urls import Urls, bind_base
from core.clock import SystemClock
from core.configuration import load
from core.data_directory import DataDirectory
from core.database import Transaction
from core.errors import ConfigurationError
from core.issuers import Issuer, put_issuer
from operations import isolation, prerequisites
from operations.cli import application
from operations.isolation import Isolation
from operations.process import Exit
from tests.support import hierarchy
from tests.support.database import opened

SECRETS = (
    "acme.binding_secret_file",
    "redis.secret_file",
    "vault.pin_file",
    "validation.key_passphrase_file",
)
WELL = ("--set", "vault.module=/bin/sh", "--set", 'metrics.listen=["127.0.0.1:1"]')
PRESET = Path(__file__).parents[2] / "deploy" / "public-loopback.toml"
FITTING = ("--set", "status.crl_shards=4")
"""What the CA of these tests was made with."""

NEEDS = {"redis.secret_file": ("--set", "redis.url=redis://127.0.0.1:1/0")}
"""What else a setting asks for."""


def _missing(path: Path) -> None:
    """Nothing is there."""


def _directory(path: Path) -> None:
    path.mkdir(mode=0o700)


def _open(path: Path) -> None:
    path.write_text("x" * 40)
    path.chmod(0o640)


def _empty(path: Path) -> None:
    path.touch(mode=0o600)


def _good(path: Path) -> None:
    path.write_text("x" * 40)
    path.chmod(0o600)


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (_missing, "put the secret there"),
    "a directory": (_directory, "name the file that holds the secret"),
    "open to its group": (_open, "chmod 600 it"),
    "empty": (_empty, "write it anew"),
}


@pytest.mark.parametrize("setting", SECRETS)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.clause("BR 6.2.8")
def test_a_secret_that_no_process_could_use_is_refused_by_check_config_and_run_alike(
    tmp_path: Path, setting: str, wrong: str
) -> None:
    make, remedy = WRONG[wrong]
    make(tmp_path / "secret")
    for command in ("check-config", "run"):
        words = (command, "--data", str(tmp_path / "d"), *WELL, *NEEDS.get(setting, ()))
        words += ("--set", f"{setting}={tmp_path / 'secret'}")
        found = CliRunner().invoke(application, list(words))
        assert found.exit_code == Exit.CONFIGURATION, found.output
        assert setting in found.output
        assert remedy in found.output
        assert "xxx" not in found.output
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("setting", sorted(set(SECRETS) - NEEDS.keys()))
def test_a_secret_for_its_owner_alone_is_good(tmp_path: Path, setting: str) -> None:
    _good(tmp_path / "secret")
    words = (
        "check-config",
        "--data",
        str(tmp_path / "d"),
        *WELL,
        "--set",
        f"{setting}={tmp_path / 'secret'}",
    )
    found = CliRunner().invoke(application, list(words))
    assert found.exit_code == Exit.DONE, found.output


def test_a_secret_that_belongs_to_another_user_than_its_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _good(tmp_path / "secret")
    settings = load(None, [f"acme.binding_secret_file={tmp_path / 'secret'}"])
    monkeypatch.setattr(isolation, "decide", lambda settings, data: Isolation(""))
    monkeypatch.setattr(isolation, "user_uid", lambda name: os.getuid() + 1)
    with pytest.raises(ConfigurationError, match=r"acme\.binding_secret_file.*chown acme-ca-app"):
        prerequisites.files(settings, DataDirectory(tmp_path))
    monkeypatch.setattr(isolation, "user_uid", lambda name: os.getuid())
    prerequisites.files(settings, DataDirectory(tmp_path))


@pytest.mark.parametrize("validity", [1, 9, 20 * 365 * 86400 + 1, 10**12])
@pytest.mark.clause("BR 6.3.2")
def test_a_validity_that_no_certificate_could_have_is_refused(validity: int) -> None:
    with pytest.raises(ConfigurationError, match=r"profiles\.tlsserver\.validity.*write 10 to"):
        load(None, [f"profiles.tlsserver.validity={validity}"])


def test_where_no_ca_is_yet_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    assert prerequisites.made(load(None), DataDirectory(tmp_path), SystemClock()) == []


def test_in_production_a_clock_of_nobody_is_warned_of_and_outside_of_it_is_not(tmp_path: Path) -> None:
    settings = load(None)
    production = replace(settings, deployment=replace(settings.deployment, production=True))
    [warning] = prerequisites.made(production, DataDirectory(tmp_path), Unsynchronised())
    assert "nothing is issued until one does (chronyc tracking" in warning
    assert prerequisites.made(settings, DataDirectory(tmp_path), Unsynchronised()) == []


ANOTHER_CAS: dict[str, tuple[str, str]] = {
    "another perspective": ('validation.perspectives=[{code="elsewhere"}]', "pinned at the ceremony"),
    "shards of no issuer": ("status.issuer_crl_shards.ec-9=4", "there is no such issuer"),
    "fewer shards than certificates name": ("status.crl_shards=1", "may rise but never fall"),
    "another base URL": ("acme.base_url=https://other.example", "accounts exist under"),
}
"""By what is wrong: a setting that is sound by itself, and what the start says of it in this directory."""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """After its ceremony, with an account and CRLs in four shards."""
    data = hierarchy.made(tmp_path_factory.mktemp("made"))

    async def used() -> None:
        async with opened(data.root) as database:

            def unit(tx: Transaction) -> None:
                bind_base(tx, Urls(load(None)))
                put_issuer(tx, Issuer("ec-1", "issuing", "ec-p256", b"certificate", b"chain", 4))

            await database.write(unit)

    asyncio.run(used())
    return data


@pytest.mark.parametrize("what", ANOTHER_CAS)
def test_settings_of_another_ca_are_refused_by_check_config_and_run_alike(
    ca: DataDirectory, what: str
) -> None:
    setting, told = ANOTHER_CAS[what]
    before = _files(ca)
    for command in ("check-config", "run"):
        words = (command, "--data", str(ca.root), *WELL, *FITTING, "--set", setting)
        found = CliRunner().invoke(application, list(words))
        assert found.exit_code == Exit.CONFIGURATION, found.output
        assert told in found.output
    assert _files(ca) == before


def test_settings_for_other_rules_than_were_sealed_are_refused_by_check_config_and_run_alike(
    ca: DataDirectory,
) -> None:
    for command in ("check-config", "run"):
        words = (command, "--config", str(PRESET), "--data", str(ca.root), *WELL, *FITTING)
        found = CliRunner().invoke(application, list(words))
        assert found.exit_code == Exit.CONFIGURATION, found.output
        assert "was made under 'private' rules" in found.output


def test_settings_of_this_ca_are_good_and_an_issuer_that_no_profile_finds_is_warned_of(
    ca: DataDirectory,
) -> None:
    words = ("check-config", "--data", str(ca.root), *WELL, *FITTING)
    found = CliRunner().invoke(application, list(words))
    assert (found.exit_code, found.stderr) == (Exit.DONE, "")
    found = CliRunner().invoke(application, [*words, "--set", "profiles.tlsserver.issuers=ec-9"])
    assert "warning: no issuing CA signs under profile tlsserver" in found.stderr


def _files(ca: DataDirectory) -> list[Path]:
    """But for what SQLite makes to read."""
    return sorted(each for each in ca.root.rglob("*") if not each.name.startswith("ca.sqlite-"))


class Unsynchronised(SystemClock):
    def synchronised(self) -> bool:
        return False
