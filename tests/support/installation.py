"""An installation as an operator makes it: the wheel in its own environment, a system user for each process.

The users are made by scripts/system-users itself, in a mount namespace whose /etc is a copy, so that the
machine keeps its own.  Code and data lie where those users can reach them, below a directory that is removed
at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from operations.isolation import Isolation
from tests.support import scratch
from tests.support.ca import REPOSITORY

MINUTE = 60
UNIT = REPOSITORY / "deploy" / "acme-server.service"


@dataclass(frozen=True, slots=True)
class Installation:
    """`directory` is root's and open to all; `entry` goes before a command that is to see the users."""

    directory: Path
    entry: tuple[str, ...]

    @property
    def program(self) -> tuple[str, ...]:
        """`acme-server`, as root."""
        return (*self.entry, str(self.directory / "venv" / "bin" / "acme-server"))

    @property
    def service(self) -> tuple[str, ...]:
        """`acme-server` with no capability but those that the unit leaves to it, and no way to new ones."""
        unit = UNIT.read_text()
        (left,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
        assert "\nNoNewPrivileges=yes\n" in unit
        kept = ",".join(["-all", *(f"+{name.lower().removeprefix('cap_')}" for name in left.split())])
        words = ("setpriv", "--no-new-privs", "--bounding-set", kept)
        return (*self.entry, *words, *self.program[len(self.entry) :])

    @property
    def config(self) -> Path:
        """A copy of config.toml that every user can read."""
        return self.directory / "config.toml"

    def like(self, role: str) -> tuple[str, ...]:
        """What goes before a command to run it with user and groups of the process of `role`."""
        how = Isolation("").spawn_options(role)
        groups = ",".join(how["extra_groups"])
        words = ("setpriv", "--reuid", how["user"], "--regid", how["group"])
        return (*self.entry, *words, *(("--groups", groups) if groups else ("--clear-groups",)))

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(words, capture_output=True, text=True, timeout=MINUTE, check=False)


def python() -> Path | None:
    """A Python that other users can run and that takes the packages of this one; None where there is none."""
    for path in (Path("/usr/bin/python3"), Path(sys.executable).resolve()):
        if path.exists() and all(part.stat().st_mode & 0o001 for part in (path, *path.resolve().parents)):
            asked = [path, "-c", "import sys, venv; print(*sys.version_info[:2])"]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
            if said == [str(part) for part in sys.version_info[:2]]:
                return path
    return None


@contextmanager
def installed() -> Iterator[Installation]:
    """Made, and taken away with all that was written there."""
    place = scratch.MEMORY if scratch.directory() else Path("/var/tmp")
    directory = Path(tempfile.mkdtemp(prefix="acme-", dir=place))
    directory.chmod(0o755)
    try:
        shutil.copy(REPOSITORY / "config.toml", directory)
        shutil.copytree("/etc", directory / "etc", symlinks=True, ignore_dangling_symlinks=True)
        _install_wheel(directory)
        with _namespace(directory) as entry:
            made = Installation(directory, entry)
            users = made.run([*entry, str(REPOSITORY / "scripts" / "system-users")])
            assert users.returncode == 0, users.stderr
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _install_wheel(directory: Path) -> None:
    """The built wheel in a new environment, whose other packages are those of the tests' own."""
    source = directory / "source"
    source.mkdir()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for room in project["tool"]["setuptools"]["packages"]["find"]["include"]:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / room.strip("*"), source / room.strip("*"), ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    _done([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", directory, source])
    shutil.rmtree(source)
    venv = directory / "venv"
    _done([python(), "-m", "venv", "--without-pip", venv])
    (wheel,) = directory.glob("*.whl")
    _done([*pip, "--python", venv / "bin" / "python", "install", *offline, wheel])
    (packages,) = (venv / "lib").glob("python3.*/site-packages")
    (directory / "packages").mkdir()
    (packages / "packages.pth").write_text(f"{directory / 'packages'}\n")


@contextmanager
def _namespace(directory: Path) -> Iterator[tuple[str, ...]]:
    """The words before a command that is to run in a mount namespace with the copies."""
    mounts = 'mount --bind "$1/etc" /etc && mount --bind "$2" "$1/packages" && echo && exec cat'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts, "sh"]
    holder = subprocess.Popen(
        [*words, str(directory), sysconfig.get_path("purelib")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"\n", "no mount namespace"
        yield ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")
    finally:
        holder.stdin.close()
        holder.wait(MINUTE)
        holder.stdout.close()


def _done(words: Sequence[str | os.PathLike[str] | None]) -> None:
    ran = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
