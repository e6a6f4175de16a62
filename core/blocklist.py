"""The operator's list of bad keys, in badkeys' format: looked up on disk, reloaded when the file changes.

A record is 16 octets: the first 15 of SHA-256 over the key's number (an RSA key's modulus, the x-coordinate
of an elliptic curve key; big-endian, no leading zeros), and one that names the source.  Records are sorted.
badkeys publishes such a file of some millions of keys, Debian's weak ones among them; an operator can merge
others into it.  Where badkeys' own check ends the process without its file, this one raises.

Records are read with pread(2), some twenty for a look-up: a mapped file that somebody truncates would end the
process by SIGBUS, and the vault with it.

Must never: let a key pass because the list could not be read.

BR 6.1.1.3 (4), (5).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from pathlib import Path

from core import followed_file
from core.errors import ConfigurationError, TransientError
from core.public_keys import number

RECORD = 16
HASH = 15

_CHUNK = 65536 * RECORD
_log = logging.getLogger(__name__)


class _Table:
    """An open file of sorted records."""

    def __init__(self, path: Path, seen: tuple[int, ...]) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.seen = seen
        self.records = status.st_size // RECORD
        try:
            if status.st_size % RECORD:
                raise _wrong(path, f"its size is no multiple of {RECORD} octets")
            if not self.records:
                raise _wrong(path, "it holds no key")
            self._must_be_sorted()
        except BaseException:
            self.close()
            raise

    def holds(self, wanted: bytes) -> bool:
        low, high = 0, self.records
        while low < high:
            middle = (low + high) // 2
            found = os.pread(self._file, HASH, middle * RECORD)
            if len(found) < HASH:
                raise TransientError(f"{self._path} was cut off while in use: put the whole list back")
            if found == wanted:
                return True
            if found < wanted:
                low = middle + 1
            else:
                high = middle
        return False

    def close(self) -> None:
        os.close(self._file)

    def _must_be_sorted(self) -> None:
        last, offset = b"", 0
        while chunk := os.pread(self._file, _CHUNK, offset):
            found = [chunk[at : at + HASH] for at in range(0, len(chunk), RECORD)]
            if found[0] < last or found != sorted(found):
                raise _wrong(self._path, f"its records from octet {offset} on are not sorted")
            last, offset = found[-1], offset + len(chunk)


class Blocklist:
    """The list in the file `path`; an empty one without.

    Raises `ConfigurationError` when the file is missing, empty, cut off or not sorted.  Checking a million
    records takes a fifth of a second.
    """

    def __init__(self, path: str = "") -> None:
        self._path = Path(path) if path else None
        self._table = None if self._path is None else self._load(self._path)

    @property
    def records(self) -> int:
        """How many keys are on it."""
        return 0 if self._table is None else self._table.records

    def holds(self, spki: bytes) -> bool:
        """Whether the key of this SubjectPublicKeyInfo is on the list; 20 us.  Raises `TransientError`."""
        if self._table is None:
            return False
        return self._table.holds(hashlib.sha256(number(spki)).digest()[:HASH])

    async def follow(self) -> None:
        """Take a changed file into use, until cancelled.  One that is not in order is reported, not used."""
        await followed_file.follow(self.reload)

    async def reload(self) -> bool:
        """Read the file if it has changed; whether it had.  Raises as the constructor, changing nothing."""
        if self._path is None or self._table is None or _seen(self._path) == self._table.seen:
            return False
        table = await asyncio.to_thread(self._load, self._path)
        # Look-ups do not wait in between, so nobody reads the old table at this moment.
        previous, self._table = self._table, table
        previous.close()
        return True

    def close(self) -> None:
        """Close the file; the list is empty afterwards."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def _load(self, path: Path) -> _Table:
        try:
            table = _Table(path, _seen(path))
        except OSError as error:
            raise _wrong(path, error.strerror or str(error)) from error
        _log.info("blocklist: %d keys in %s", table.records, path)
        return table


def _seen(path: Path) -> tuple[int, ...]:
    """What tells one file from its successor."""
    try:
        return followed_file.seen(path)
    except OSError as error:
        raise _wrong(path, error.strerror or str(error)) from error


def _wrong(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"ca.blocklist = {path}: {why}; "
        "name a file in badkeys' format (`badkeys --update-bl` fetches one), or none"
    )
