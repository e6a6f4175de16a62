"""Each process as its own system user, with directories that the others cannot enter.

Started as root with `deployment.isolate`, the supervisor gives every process a user of its own, so that
whoever takes over the front or a resolver can read neither the token's PIN nor another process's key.  Where
that cannot work (not root, no such users, code in a private home), the CA runs as it is and says *not
isolated* with the reason: a try-out must not fail on it, and nobody may believe in a wall that is not there.

Must never: call a half-made isolation isolated.  (CA/Browser Forum NetSec 1.2: segmentation by function.)
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.settings import Settings

GROUP = "acme-ca"
"""The group of all our users: it may use the sockets in run/ and read what its owner shows it."""

USERS = {role: f"acme-ca-{role}" for role in ("vault", "perspective", "app", "status", "sites")}

OPTIONAL = "sites"
"""Without test sites their user need not be there: a CA of an older version goes on as it was set up."""

HELD = {"supervisor.pid", "ceremony.lock"}
"""What whoever arranges the directories may hold a lock on, in run/."""

SAME_USER = {"keeper": "status"}
"""The keeper writes what the status workers read, and may have signed what they may: one user for both."""

CREATE = "scripts/system-users"
"""What makes them; named in every remedy."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whether each process has its own user; `reason` says why not ("" when it has)."""

    reason: str

    @property
    def on(self) -> bool:
        return not self.reason

    def spawn_options(self, role: str) -> dict[str, Any]:
        """Arguments for `subprocess` that make the process of `role` its user."""
        if not self.on:
            return {}
        user = USERS[SAME_USER.get(role, role)]
        if role == OPTIONAL:
            # The sites are a stranger's: no file, and no socket, that the group may use.
            return {"user": user, "group": user, "extra_groups": []}
        if user == USERS["status"]:
            # What it makes is for the app to read and for nobody else.
            return {"user": user, "group": user, "extra_groups": [GROUP]}
        extra = [USERS["app"], USERS["status"]] if role == "app" else []
        return {"user": user, "group": GROUP, "extra_groups": extra}


def decide(settings: Settings, data: DataDirectory) -> Isolation:
    """Whether isolation is possible here; looked up anew at every start."""
    if not settings.deployment.isolate:
        return Isolation("deployment.isolate = false")
    if os.geteuid() != 0:
        return Isolation("not started as root")
    try:
        grp.getgrnam(GROUP)
        for role, user in USERS.items():
            if role != OPTIONAL or settings.test_sites.zone:
                pwd.getpwnam(user)
    except KeyError:
        return Isolation(f"the system users are missing; {CREATE} makes them")
    return Isolation(_unreachable(data))


def arrange(isolation: Isolation, data: DataDirectory) -> None:
    """Make the directories of `data` and give each to its owner; safe to repeat while nothing runs.

    Raises `ConfigurationError` for a symbolic link in the place of a directory that is not root's own.

    Layout when isolated (the data directory itself is sticky, so that the app, which makes ca.sqlite in it,
    cannot move another user's directory away):

        .              root : acme-ca-app          1771
        tokens vault   acme-ca-vault               0700
        perspectives   acme-ca-perspective         0700
        audit tls mpic bindings nonces
                       acme-ca-app                 0700
        repository     acme-ca-app : acme-ca       0755   public anyway
        repository/ocsp
                       acme-ca-status : acme-ca    0755
        status, status/answers
                       acme-ca-status : acme-ca-status  0750   after a restore the app reads what was answered
        sites          acme-ca-sites               0700
        reports        acme-ca-status : acme-ca-status  0770   status writes, the app takes away
        run            root : acme-ca              1770   sockets
        log            root : acme-ca-app          1770   the supervisor opens all but the access log

    The app is in the group of status, whose own group what status makes belongs to: no directory needs the
    set-group-ID bit, which systemd lets no service set (RestrictSUIDSGID).
    """
    private = {
        data.tokens: "vault",
        data.vault: "vault",
        data.perspectives: "perspective",
        data.audit: "app",
        data.tls: "app",
        data.bindings: "app",
        data.nonces: "app",
        data.mpic: "app",
        data.status: "status",
        data.sites: "sites",
    }
    shown = (data.repository, data.ocsp_files, data.reports, data.run, data.log)
    for path in (data.root, *private, *shown):
        _require_no_strange_link(path)
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    if not isolation.on:
        for path in (*private, data.reports, data.log):
            path.chmod(0o700)
        data.run.chmod(0o750)
        return
    group = grp.getgrnam(GROUP).gr_gid
    for path, role in private.items():
        if USERS[role] in _made():
            _give(path, user_uid(USERS[role]), group)
        path.chmod(0o700)
    data.answers.mkdir(exist_ok=True)
    for path, mode in ((data.reports, 0o770), (data.status, 0o750), (data.answers, 0o750)):
        _give(path, user_uid(USERS["status"]), user_gid(USERS["status"]))
        path.chmod(mode)
    app = user_uid(USERS["app"])
    _give(data.repository, app, group)
    data.repository.chmod(0o755)
    _give(data.ocsp_files, user_uid(USERS["status"]), group)
    data.ocsp_files.chmod(0o755)
    for path in (*data.root.glob(data.database.name + "*"), *data.log.glob("access.log*")):
        _give_file(path, app, group, 0o640)
    os.chown(data.run, 0, group)
    data.run.chmod(0o1770)
    for path in data.run.iterdir():
        # What a dead process of another user left behind could not be replaced.
        if path.name not in HELD and not (path.is_dir() and not path.is_symlink()):
            path.unlink(missing_ok=True)
    os.chown(data.log, 0, user_gid(USERS["app"]))
    data.log.chmod(0o1770)
    os.chown(data.root, 0, user_gid(USERS["app"]))
    data.root.chmod(0o1771)


def give_back(isolation: Isolation, data: DataDirectory) -> None:
    """Give what a ceremony, held as root, made beside a running CA to its owners; the sockets stay."""
    if isolation.on:
        group = grp.getgrnam(GROUP).gr_gid
        for path, role in ((data.tokens, "vault"), (data.vault, "vault"), (data.perspectives, "perspective")):
            _give(path, user_uid(USERS[role]), group)


def roles() -> dict[int, str]:
    """The other processes' roles by uid, for a process that has a user of its own; else empty."""
    try:
        uids = {user_uid(user): role for role, user in USERS.items() if user in _made()}
        return uids if os.geteuid() in uids else {}
    except KeyError:
        return {}


def _made() -> list[str]:
    """The users that are wanted: all but the optional one, which may be missing."""
    names = {user.pw_name for user in pwd.getpwall()}
    return [user for role, user in USERS.items() if role != OPTIONAL or user in names]


def user_uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def user_gid(name: str) -> int:
    return pwd.getpwnam(name).pw_gid


def _require_no_strange_link(path: Path) -> None:
    # Others may write beside it, and what root gives away must be what it looks like.  An operator may well
    # have laid a directory on another disk.
    if path.is_symlink() and path.lstat().st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} is a symbolic link that uid {path.lstat().st_uid} made: find out who that was and why, "
            "and put the directory back in its place"
        )


def _give_file(path: Path, uid: int, gid: int, mode: int) -> None:
    """Raises `ConfigurationError` for what is no plain file: a link would lead root to another one."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be given to its process ({error.strerror}): take away what is no plain file there"
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ConfigurationError(f"{path} is no plain file: take it away")
        os.fchown(file, uid, gid)
        os.fchmod(file, mode)
    finally:
        os.close(file)


def _give(path: Path, uid: int, gid: int) -> None:
    os.chown(path, uid, gid)
    for directory, directories, files in os.walk(path):
        for name in (*directories, *files):
            os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)


def _unreachable(data: DataDirectory) -> str:
    vault, python = USERS["vault"], Path(sys.executable).resolve()
    if not _executable_by_others(python):
        return f"{vault} cannot run {python}: make .venv anew with the system's (PYTHON=/usr/bin/python3)"
    # Tried, not computed: access lists, mounts and a Python in a private home all count.
    for what, probe, remedy in (
        (Path(__file__).parent.parent, "import core, msgspec, cryptography", "install it below /opt"),
        (data.root, f"import os; os.stat({str(data.root)!r})", "keep it below /var/lib"),
    ):
        tried = subprocess.run(
            [sys.executable, "-c", probe],
            user=vault,
            group=GROUP,
            extra_groups=[],
            cwd=Path(__file__).parent.parent,
            env={"PATH": os.environ.get("PATH", "")},
            capture_output=True,
            check=False,
        )
        if tried.returncode != 0:
            return f"{vault} cannot reach {what}: {remedy}"
    return ""


def _executable_by_others(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path.resolve(), *path.resolve().parents))
