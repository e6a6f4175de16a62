from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.configuration import load
from operations.cli import application
from operations.process import Exit
from validation.dns.resolver import Upstream
from validation.dns.resolver_rules import examine, require_listening

PRESET = Path(__file__).parents[2] / "deploy" / "public-loopback.toml"


def run(*words: str) -> Result:
    return CliRunner().invoke(application, list(words))


def test_help_lists_the_exit_codes() -> None:
    shown = run("--help")
    assert shown.exit_code == Exit.DONE
    assert "3 configuration" in shown.output


def test_an_unknown_setting_is_refused_by_name(tmp_path: Path) -> None:
    found = run("check-config", "--data", str(tmp_path), "--set", "acme.bse_url=https://ca.example")
    assert found.exit_code == Exit.CONFIGURATION
    assert "base_url" in found.output
    assert "Traceback" not in found.output


def test_check_config_says_that_there_is_no_log_list(tmp_path: Path) -> None:
    words = ("check-config", "--data", str(tmp_path / "d"), "--set", "vault.module=/bin/sh")
    found = run(*words, "--set", "ct.mode=on", "--set", f"ct.log_list={tmp_path}/log_list.json")
    assert (found.exit_code, "ct.log_list" in found.stderr) == (3, True), found.output


def test_check_config_shows_the_settings_in_force(tmp_path: Path) -> None:
    words = ("check-config", "--data", str(tmp_path / "d"), "--set", "vault.module=/bin/sh", "--json")
    found = run(*words, "--set", "status.crl_delay=7", "--set", 'metrics.listen=["127.0.0.1:1"]')
    settings = json.loads(found.stdout)
    assert settings["status"]["crl_delay"] == 7
    assert not (tmp_path / "d").exists()


def test_a_preset_that_misses_the_rules_of_the_day_is_refused(tmp_path: Path) -> None:
    for command in ("check-config", "run"):
        far = ("--config", str(PRESET), "--set", "profiles.tlsserver.validity=34560000")
        found = run(command, *far, "--data", str(tmp_path / "d"))
        assert found.exit_code == Exit.CONFIGURATION
        assert "profiles.tlsserver.validity" in found.output
    assert not (tmp_path / "d").exists()


@pytest.mark.row("dns.no-loosening")
@pytest.mark.clause("BR 3.2.2.8.1")
def test_a_resolver_that_is_loosened_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.conf"
    theirs.write_text("server:\n  val-permissive-mode: yes\n")
    for command in ("check-config", "run"):
        words = ("--config", str(PRESET), "--set", f'validation.unbound_include="{theirs}"')
        found = run(command, *words, "--data", str(tmp_path / "d"))
        assert found.exit_code == Exit.CONFIGURATION
        assert "val-permissive-mode: yes" in found.output
    assert not (tmp_path / "d").exists()


@pytest.mark.row("dns.unbound")
def test_the_resolvers_configuration_is_printed_for_who_runs_it_himself(tmp_path: Path) -> None:
    settings = load(None, ['validation.resolvers=["127.0.0.53:5353"]'])
    printed = run("resolver-config", "--set", 'validation.resolvers=["127.0.0.53:5353"]')
    assert printed.exit_code == Exit.DONE
    file = tmp_path / "unbound.conf"
    file.write_text(printed.output)
    checkconf = Path("/usr/sbin/unbound-checkconf")
    examine(file, "validation.resolver_config", checkconf, production=True)
    require_listening(file, [Upstream.parse(settings.validation.resolvers[0])], checkconf)


def test_a_wrong_word_is_refused_with_the_right_ones(tmp_path: Path) -> None:
    found = run("check-config", "--data", str(tmp_path), "--set", "ca.rules=publik")
    assert found.exit_code == Exit.CONFIGURATION
    assert '"public" or "private"' in found.output


def test_a_revocation_without_a_running_ca_says_so(tmp_path: Path) -> None:
    found = run("revoke", "0123", "--cause", "misuse", "--data", str(tmp_path))
    assert found.exit_code == Exit.NOT_RUNNING
    assert f"no CA answers in {tmp_path}" in found.output


@pytest.mark.parametrize("command", [("status",), ("verify-audit",)])
def test_where_there_is_no_ca_a_report_says_how_to_make_one(command: tuple[str, ...], tmp_path: Path) -> None:
    found = run(*command, "--data", str(tmp_path / "none"))
    assert found.exit_code == Exit.CONFIGURATION
    assert "run" in found.output
    assert not (tmp_path / "none").exists()


def test_revoking_needs_a_running_app(tmp_path: Path) -> None:
    assert run("revoke", "01:02", "--dry-run", "--data", str(tmp_path)).exit_code == Exit.NOT_RUNNING


def test_a_serial_that_is_none_is_refused(tmp_path: Path) -> None:
    found = run("revoke", "xyz", "--data", str(tmp_path))
    assert found.exit_code == Exit.CONFIGURATION
    assert "hexadecimal" in found.output


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_data_directory_that_is_a_file_is_refused(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = run(command, "--data", str(tmp_path / "file"), "--set", "vault.module=/bin/sh")
    assert found.exit_code == Exit.CONFIGURATION
    assert "--data" in found.output


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_not_reported_as_down(tmp_path: Path) -> None:
    tmp_path.chmod(0o300)
    found = run("status", "--data", str(tmp_path))
    tmp_path.chmod(0o700)
    assert found.exit_code == Exit.REFUSED
    assert "be root" in found.output
