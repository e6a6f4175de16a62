"""The spool of problem reports: the page writes a report here, durably, before it shows the receipt number.

One file for each report, written beside its place, forced to disk, renamed; so the page stands with app,
vault and database down.  The app takes the reports up (operations/report_intake.py), then removes the file.
The directory belongs to the status process, and the app's group may read and remove: nobody else may enter.

Must never: write anything secret; show a receipt number for a file that is not durable; grow without a bound.

BR 4.9.3 (24x7), 4.9.5; requirements 1.04.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import msgspec

from core.durable import sync_directory
from core.errors import CaError
from core.problem_reports import Filed, is_number

MOST_WAITING = 1000
"""Reports that wait for the app: at 100 kB each they take 100 MB; a person must look long before."""

MOST_OCTETS = 100_000
"""Of one report."""

LATEST = 1 << 40
"""POSIX seconds: what the database and calendars can hold, by far."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Filed).decode


class SpoolFull(CaError):
    """It takes no more: whoever reports must write to the contact address."""


class Spool:
    """The reports that wait below `directory`."""

    def __init__(self, directory: Path, most: int = MOST_WAITING) -> None:
        self._directory = directory
        self._most = most

    def put(self, filed: Filed) -> None:
        """Keep it: durable when this returns.  Raises `SpoolFull`, with nothing kept; OSError."""
        octets = _encode(filed)
        if len(octets) > MOST_OCTETS:
            raise SpoolFull(f"a report has at most {MOST_OCTETS} octets")
        if sum(1 for _ in self._files()) >= self._most:
            raise SpoolFull(f"{self._most} reports wait already: is the app down?")
        path = self._path(filed.number)
        new = path.with_name(f".{path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            os.rename(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        sync_directory(self._directory)

    def waiting(self) -> list[str]:
        """The receipt numbers that wait, the oldest day first."""
        return sorted(path.stem for path in self._files())

    def read(self, number: str) -> Filed | None:
        """The report, or None when it does not wait (any more).  Raises `CaError` when it cannot be read."""
        path = self._path(number)
        try:
            octets = _octets(path)
            if octets is None:
                raise CaError(f"{path} is no file of ours: look at it by hand")
            filed = _decode(octets)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            # The message names the place in the file, never its content.
            raise CaError(f"{path} cannot be read: look at it by hand ({error})") from error
        if filed.number != number or not 0 <= filed.received_at <= LATEST:
            raise CaError(f"{path} has another number in it, or no time: look at it by hand")
        return filed

    def remove(self, number: str) -> None:
        """It is in the register now."""
        self._path(number).unlink(missing_ok=True)
        sync_directory(self._directory)

    def set_aside(self, number: str) -> None:
        """It cannot be read: keep it for a person, under a name that is not looked at again."""
        path = self._path(number)
        path.rename(path.with_name(f"{path.name}.unreadable"))

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._directory.iterdir() if _is_report(path)]
        except FileNotFoundError:
            return []

    def _path(self, number: str) -> Path:
        if not is_number(number):
            raise ValueError(f"{number!r} is no receipt number")
        return self._directory / f"{number}.json"


def _octets(path: Path) -> bytes | None:
    """What is in it; None for what `put` did not write: a link, a pipe, too much.

    The app reads what a web process wrote, and must neither hang on it nor follow it to a file of its own.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EACCES):
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            octets = file.read(MOST_OCTETS + 1)
    finally:
        os.close(descriptor)
    return octets if len(octets) <= MOST_OCTETS else None


def _is_report(path: Path) -> bool:
    return path.suffix == ".json" and is_number(path.stem)
