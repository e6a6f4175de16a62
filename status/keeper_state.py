"""What the keeper says of itself, for the app's metrics and health and for `acme-server status`.

Must never: call answers well when nobody has looked after them for minutes.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.settings import Status

SILENT_AFTER = 120
"""Seconds after which a keeper that says nothing is taken for dead."""


@dataclass(frozen=True, slots=True)
class KeeperState:
    """Times in POSIX seconds.

    `oldest`: all answers were made then or later; `until`: the first of them passes its nextUpdate then, 0
    when there is none.  `overdue` should have been renewed by now, `refused` the vault does not renew;
    `waiting` are serials that are new and have no answer yet; `signed` answers since the keeper started.
    `trouble` is why it does not get on, "".
    """

    at: int
    answers: int
    segments: int
    oldest: int
    until: int
    overdue: int
    refused: int
    waiting: int
    signed: int
    trouble: str

    def alarm(self, settings: Status, now: int) -> str:
        """What a person must look at, "" when all is well."""
        if now - self.at > SILENT_AFTER:
            return f"OCSP KEEPER SILENT: it has said nothing for {now - self.at} s: see keeper.log"
        left = self.until - now
        if self.until and left <= 0:
            return f"OCSP ANSWERS STALE: the first nextUpdate has passed: {self.trouble or 'see keeper.log'}"
        if self.until and left < settings.ocsp_validity // 4:
            return f"OCSP ANSWERS END SOON: in {left // 60} min: {self.trouble or 'see keeper.log'}"
        if self.overdue:
            return f"OCSP ANSWERS OVERDUE: {self.overdue} of {self.answers}: {self.trouble or 'catching up'}"
        if self.refused:
            return f"OCSP ANSWERS REFUSED: {self.refused} by the vault: see keeper.log before they end"
        return ""


def read(path: Path) -> KeeperState | None:
    """The keeper's last word; None when there is none."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=KeeperState)
    return None


def write(path: Path, state: KeeperState) -> None:
    """Replace the word, so that a reader never sees half of it."""
    new = path.parent / f".{path.name}.new"
    with new.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(msgspec.json.encode(state))
    os.replace(new, path)
