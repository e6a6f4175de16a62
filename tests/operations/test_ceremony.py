"""`acme-server ceremony`: from the first screen to a transcript that anybody can verify."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.data_directory import DataDirectory
from operations import cli
from operations.process import Exit
from signer.vault.ceremony.verify import verify
from tests.support.ceremonies import FIRST, HEAD, hold, people, script

NAMES = ("Alice Abe", "Bob Baba", "Carol Chiba")
PASSPHRASE = "five words are better than one"


def command(*words: object) -> Result:
    """`acme-server ceremony ...` in this process."""
    return CliRunner().invoke(cli.application, ["ceremony", *map(str, words)])


def process(*words: object) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, as it locks its memory and maps the token's library."""
    arguments = [sys.executable, "-m", "operations.cli", "ceremony", *map(str, words)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three identities, and the script of a small hierarchy for two of them."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "passphrase").write_text(PASSPHRASE + "\n")
    for name in NAMES:
        made = command("identity", name, "--directory", desk, "--passphrase-file", desk / "passphrase")
        assert made.exit_code == Exit.DONE, made.output
    files = "".join(f'[[people]]\nfile = "{name.replace(" ", "-")}.person.json"\n' for name in NAMES)
    (desk / "first.toml").write_text(HEAD.format(title="First", present=2, of=3) + files + FIRST)
    return desk


def present(desk: Path, *names: str) -> list[object]:
    words: list[object] = []
    for name in names:
        words += ["--identity", desk / f"{name}.identity", "--passphrase-file", desk / "passphrase"]
    return words


def test_an_identity_is_two_files_of_which_one_is_private_and_encrypted(desk: Path) -> None:
    private = desk / "Alice-Abe.identity"
    assert private.stat().st_mode & 0o777 == 0o600
    assert PASSPHRASE.encode() not in private.read_bytes()
    assert json.loads((desk / "Alice-Abe.person.json").read_text())["name"] == "Alice Abe"


def test_the_first_screen_says_what_comes_next(tmp_path: Path) -> None:
    shown = command("--data", tmp_path)
    assert shown.exit_code == Exit.DONE
    assert "no hierarchy yet" in shown.output
    assert "acme-server ceremony identity NAME" in shown.output
    assert list(tmp_path.iterdir()) == []


def test_show_says_every_step_and_person_in_words(desk: Path, tmp_path: Path) -> None:
    shown = command("show", desk / "first.toml", "--data", tmp_path)
    assert "present: at least 2 of 3" in shown.output
    assert "Carol Chiba, key custodian" in shown.output
    assert " 11  the root key seals the hierarchy" in shown.output


def test_the_example_is_a_script_that_can_be_carried_out(desk: Path, tmp_path: Path) -> None:
    example = command("example").output
    for name in ("Dave Doi", "Erin Endo"):
        command("identity", name, "--directory", tmp_path, "--passphrase-file", desk / "passphrase")
    for name in NAMES:
        file = f"{name.replace(' ', '-')}.person.json"
        (tmp_path / file).write_bytes((desk / file).read_bytes())
    (tmp_path / "example.toml").write_text(example)
    shown = command("show", tmp_path / "example.toml", "--data", tmp_path / "data")
    assert shown.exit_code == Exit.DONE, shown.output
    assert "any 3 of whom open it" in shown.output


@pytest.mark.clause("CPS 6.1.1")
def test_a_dry_run_shows_the_certificates_and_leaves_nothing(desk: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(scratch))
        done = command("run", desk / "first.toml", "--dry-run", "--data", tmp_path / "data")
    assert done.exit_code == Exit.DONE, done.output
    assert "ec-1, with a throwaway key:" in done.output
    assert "-----BEGIN CERTIFICATE-----" in done.output
    assert list(scratch.glob("rehearsal-*")) == []  # the fork server keeps a directory of its own
    assert not (tmp_path / "data").exists()


def test_a_dry_run_of_a_later_ceremony_needs_neither_the_root_key_nor_its_people(tmp_path: Path) -> None:
    identities = people()
    data = DataDirectory(tmp_path / "data")
    hold(data, script(identities), identities[:2])
    for identity in identities:
        identity.person.save(tmp_path)
    before = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()}
    files = "".join(f'[[people]]\nfile = "{each.person.name}.person.json"\n' for each in identities)
    steps = (
        '[[steps]]\nkind = "retire-issuer"\nissuer = "ec-1"\n'
        '[[steps]]\nkind = "root-crl"\n[[steps]]\nkind = "seal"\n'
    )
    (tmp_path / "later.toml").write_text(HEAD.format(title="Later", present=2, of=3) + files + steps)
    done = command("run", tmp_path / "later.toml", "--dry-run", "--data", data.root)
    assert done.exit_code == Exit.DONE, done.output
    assert {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()} == before


@pytest.mark.clause("BR 6.2.2")
def test_people_hold_a_ceremony_and_anybody_verifies_it(desk: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    alone = process("run", desk / "first.toml", "--data", data, *present(desk, "Alice-Abe"))
    assert alone.returncode == Exit.REFUSED
    assert "1 of 2 people are present" in alone.stderr
    assert not data.exists()
    assert alone.stdout == ""  # no perspective's key was made, either
    held = process("run", desk / "first.toml", "--data", data, *present(desk, "Alice-Abe", "Carol-Chiba"))
    assert held.returncode == Exit.DONE, held.stderr
    transcript = data / "vault" / "ceremonies" / "0001" / "transcript"
    verified = command("verify", transcript, "--json")
    assert verified.exit_code == Exit.DONE
    assert [name.split(" (")[0] for name in json.loads(verified.output)["signed"]] == [
        "Alice Abe",
        "Carol Chiba",
    ]
    changed = tmp_path / "changed"
    changed.write_bytes(transcript.read_bytes().replace(b"EC Issuing CA 1", b"EC Issuing CA 7", 1))
    judged = command("verify", changed)
    assert judged.exit_code == Exit.REFUSED
    assert "breaks the chain" in judged.output


@pytest.mark.parametrize("step", ["ceremony 4 key", "ceremony 9 signed", "ceremony hierarchy"])
def test_an_embedded_set_up_that_was_killed_goes_on_when_it_is_run_again(tmp_path: Path, step: str) -> None:
    arguments = [sys.executable, "-m", "operations.ceremony", "--data", str(tmp_path)]
    killed = subprocess.run([*arguments, "--crash-at", step], check=False, capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    again = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=60)
    assert again.returncode == Exit.DONE, again.stderr
    report = verify((tmp_path / "vault" / "ceremonies" / "0001" / "transcript").read_bytes())
    assert report.state == "in force"
    assert report.voids == int(step != "ceremony hierarchy")


def test_a_wrong_passphrase_is_told_before_anything_is_made(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("not this one at all\n")
    data = tmp_path / "data"
    words = ["--identity", desk / "Alice-Abe.identity", "--passphrase-file", tmp_path / "wrong"]
    done = command("run", desk / "first.toml", "--data", data, *words)
    assert done.exit_code == Exit.REFUSED
    assert "does not open: the passphrase is another" in done.output
    assert not data.exists()
