"""Who asks over one of our sockets: a user by the kernel's word, and beside it what that user says.

Whoever may use a socket can set LOGNAME and SUDO_USER to any name.  So a record names the uid at the other
end (SO_PEERCRED) and, where they differ, the uid of the login that it came from, which the kernel keeps
through sudo (/proc/PID/loginuid); a claim stands behind them, in quotation marks.  Names are those of
/etc/passwd at that moment and of nothing else: a directory service that does not answer must not keep a halt
waiting.

Must never: take a claim for the person.

BR 5.4.1 (identity of the person making the entry); CPS 5.2.3.
"""

from __future__ import annotations

import os
from pathlib import Path

MAX_CLAIM = 64
"""Characters of a claim that are written down."""

_NO_LOGIN = 2**32 - 1
"""What the kernel shows for a process that nobody's login began: a service, most containers."""


def claimed() -> str:
    """What a command calls whoever types it: the word of the environment, "" where it says nothing."""
    return os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or ""


def named(uid: int, pid: int, claim: str) -> str:
    """The caller for a record: `root (uid 0), logged in as ann (uid 1000), who says "bob"`.

    A claim that says no more than the kernel does is left out.
    """
    names = _names()
    told, known = _user(uid, names), {names.get(uid)}
    login = _login(pid)
    if login is not None and login != uid:
        told += f", logged in as {_user(login, names)}"
        known.add(names.get(login))
    said = "".join(each for each in claim if each.isprintable() and each != '"')[:MAX_CLAIM].strip()
    return f'{told}, who says "{said}"' if said and said not in known else told


def _user(uid: int, names: dict[int, str]) -> str:
    return f"{names[uid]} (uid {uid})" if uid in names else f"uid {uid}"


def _names() -> dict[int, str]:
    try:
        lines = [line.split(":") for line in Path("/etc/passwd").read_text(errors="replace").splitlines()]
    except OSError:
        return {}
    found: dict[int, str] = {}
    for parts in lines:
        if len(parts) == 7 and parts[2].isdecimal():
            found.setdefault(int(parts[2]), parts[0])
    return found


def _login(pid: int) -> int | None:
    try:
        uid = int(Path(f"/proc/{pid}/loginuid").read_text())
    except (OSError, ValueError):  # it has ended, or another namespace hides it
        return None
    return None if uid == _NO_LOGIN else uid
