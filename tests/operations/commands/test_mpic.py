"""`acme-server mpic` and `perspective-key`: from nothing to a channel, by the command line alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner

from core.data_directory import DataDirectory
from operations.cli import application
from operations.process import Exit
from tests.support.elsewhere import PASSPHRASE, ZONE
from validation.keys import load_private_key
from validation.mpic.mutual_tls import COORDINATOR, Identity

CONFIG = f"""
[mpic]
zone = "{ZONE}"
[[validation.perspectives]]
code = "tokyo"
"""


class Shell:
    """Runs commands with one configuration."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "config.toml"
        self.config.write_text(CONFIG)
        self.passphrase = directory / "passphrase"
        self.passphrase.write_text(PASSPHRASE + "\n")
        self.root = directory / "root"

    def run(self, *words: str | Path, data: Path | None = None) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        command = [str(word) for word in words]
        if data is not None:
            command += ["--config", str(self.config), "--data", str(data)]
        result = CliRunner().invoke(application, command)
        return result.exit_code, result.stdout, result.stderr

    def done(self, *words: str | Path, data: Path | None = None) -> str:
        code, out, error = self.run(*words, data=data)
        assert code == Exit.DONE, error
        return out

    def make_root(self) -> None:
        self.done(
            *("mpic", "root", "--root", self.root, "--config", self.config),
            *("--passphrase-file", self.passphrase),
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.row("mpic.channel")
@pytest.mark.parametrize("name", ["tokyo", COORDINATOR])
def test_a_host_gets_its_identity_from_the_root_of_another_machine(
    shell: Shell, tmp_path: Path, name: str
) -> None:
    shell.make_root()
    data = tmp_path / "host"
    (tmp_path / "asked.csr").write_text(shell.done("mpic", "request", name, data=data))
    answer = shell.done(
        *("mpic", "certificate", name, tmp_path / "asked.csr", "--root", shell.root),
        *("--passphrase-file", shell.passphrase),
    )
    (tmp_path / "answer.pem").write_text(answer)
    assert "in place until" in shell.done("mpic", "install", name, tmp_path / "answer.pem", data=data)
    directory = DataDirectory(data)
    where = directory.mpic if name == COORDINATOR else directory.channel(name)
    assert Identity(where, server=name != COORDINATOR).names == {f"{name}.{ZONE}"}


def test_a_perspectives_key_is_made_once_and_its_public_half_printed(shell: Shell, tmp_path: Path) -> None:
    first = shell.done("perspective-key", "tokyo", data=tmp_path / "host")
    assert shell.done("perspective-key", "tokyo", data=tmp_path / "host") == first
    private = load_private_key(DataDirectory(tmp_path / "host").perspective("tokyo"))
    assert serialization.load_pem_public_key(first.encode()) == private.public_key()
    assert "PRIVATE" not in first


@pytest.mark.parametrize(
    "words", [("perspective-key", "oslo"), ("mpic", "request", "oslo"), ("mpic", "request", "")]
)
def test_a_perspective_that_is_not_in_the_settings_gets_nothing(
    shell: Shell, tmp_path: Path, words: tuple[str, ...]
) -> None:
    code, out, error = shell.run(*words, data=tmp_path / "host")
    assert (code, out) == (Exit.CONFIGURATION, "")
    assert "validation.perspectives has no" in error
    assert not (tmp_path / "host").exists()


def test_without_a_zone_there_is_no_root(shell: Shell, tmp_path: Path) -> None:
    shell.config.write_text("")
    code, _, error = shell.run(
        *("mpic", "root", "--root", shell.root, "--config", shell.config),
        *("--passphrase-file", shell.passphrase),
    )
    assert code == Exit.CONFIGURATION
    assert "mpic.zone is empty" in error
    assert not shell.root.exists()


def test_a_certificate_for_another_name_than_the_requests_is_refused(shell: Shell, tmp_path: Path) -> None:
    shell.make_root()
    (tmp_path / "asked.csr").write_text(shell.done("mpic", "request", "tokyo", data=tmp_path / "host"))
    code, out, error = shell.run(
        *("mpic", "certificate", COORDINATOR, tmp_path / "asked.csr", "--root", shell.root),
        *("--passphrase-file", shell.passphrase),
    )
    assert (code, out) == (Exit.CONFIGURATION, "")
    assert "the request is for tokyo" in error


def test_without_a_terminal_a_passphrase_must_come_from_a_file(shell: Shell) -> None:
    code, _, error = shell.run("mpic", "root", "--root", shell.root, "--config", shell.config)
    assert code == Exit.CONFIGURATION
    assert "--passphrase-file" in error
    assert not shell.root.exists() or not list(shell.root.iterdir())
