"""How far the register had come when the app saw it last: what has not come there is not believed.

The app writes the number and hash of the newest record of its audit log into a file beside the database.
Whoever reads a database that lacks that record reads an older one, which was put in its place: what was
revoked since then would be good again.  The same file tells an app that starts that a backup was put back,
also where the audit log's copy was put back together with it.

Must never: be written of a database that was not compared with what stands beside it (status/restored).

CPS 5.7.4; BR 4.9.10.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core import audit
from core.audit_copy import audit_hash
from core.clock import Clock
from core.reader import Rows


@dataclass(frozen=True, slots=True)
class Mark:
    """An audit record's number, its hash in hexadecimal, and when this was written (POSIX seconds)."""

    sequence: int
    hash: str
    at: int

    def is_in(self, rows: Rows) -> bool:
        """Whether that register, or one that goes on from it, is read."""
        found = audit_hash(rows, self.sequence)
        return found is not None and found.hex() == self.hash


def read(path: Path) -> Mark | None:
    """What was written last; None where nothing was, or a crash left half of it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Mark)
    except (OSError, msgspec.MsgspecError):
        return None


def heed(path: Path, clock: Clock) -> Mark | None:
    """The same, its time shown to the clock: where that stepped back, the register has seen a later one.

    All who date by `Clock.latest` then stand at one time, also those who started meanwhile.
    """
    mark = read(path)
    if mark is not None:
        clock.observe(mark.at)
    return mark


def write(path: Path, rows: Rows, at: int, last: Mark | None) -> Mark:
    """Note where the register is now; what is noted.  Nothing is written when that is `last`.

    It need not be forced to disk: after a power failure an older one is true as well.
    """
    head = audit.head(rows)
    mark = Mark(head.sequence, head.hash.hex(), at)
    if last is not None and (last.sequence, last.hash) == (mark.sequence, mark.hash):
        return last
    new = path.parent / f".{path.name}.new"
    with new.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)  # the readers are of our group
        file.write(msgspec.json.encode(mark))
    os.replace(new, path)
    return mark
