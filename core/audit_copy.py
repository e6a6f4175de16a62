"""The audit log once more, outside of the database: what a database restored from a backup has forgotten.

Records are copied after their commit, within a second, and those of `AT_ONCE` before anybody hears of the
commit: an acknowledged revocation stands in two files.  A line is a JSON object with the columns of `audit`,
`hash` in hexadecimal, and the lines hold each other by the same chain (core/audit.py).  A file is named
LIFE-SEQUENCE.jsonl after its first record; lives are counted from 1, and a new one begins when a restored
register goes on from an earlier record: what it had forgotten stays in the older files.

Must never: change or drop a line; go on after a record that the database does not have.

CPS 5.4.4, 5.4.5, 5.7.2; BR 5.4.1.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import msgspec

from core import audit
from core.audit import Head
from core.durable import sync_directory
from core.errors import CaError
from core.reader import Rows

AT_ONCE = frozenset(
    {"revocation", "revocation-reason", "key-blocked", "crl", "register-gap", "register-gap-closed"}
)
"""Kinds of records that a restore must not lose, not even the last second of them."""

FILE_OCTETS = 64 * 1024 * 1024
"""A longer file is ended, so that what is looked for is found in one of a bounded size."""

PAGE = 1000
"""Records copied at a time."""

_NAME = re.compile(r"(\d{6})-(\d{12})\.jsonl")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the audit log; `content` is its canonical JSON, `hash` hexadecimal."""

    sequence: int
    at: int
    kind: str
    subject: str
    content: str
    hash: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What the copy has and the database has not: the records after `common`, chained to it.

    `fault` tells where the copy itself is damaged, "" when it is whole; nothing behind that counts.
    """

    common: Head
    records: tuple[Record, ...]
    fault: str = ""


class Diverged(CaError):
    """The database's log is not the one that was copied: it was restored, or is another CA's."""


class AuditCopy:
    """The copy below one directory.  One process writes it; any of its threads may."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._life, self.head = 1, Head()
        """The last record copied; of the newest life."""
        self._file: int | None = None
        self._octets = 0
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if names := self._names():
            self._life = int(names[-1][:6])
            if last := _last_line(directory / names[-1]):
                record = _decoder.decode(last)
                self.head = Head(record.sequence, bytes.fromhex(record.hash))

    def append(self, records: Sequence[Record]) -> None:
        """Copy what follows on `head`; what is copied already is left out.  Returns when it is durable.

        Raises: `Diverged`, and nothing is written; OSError.
        """
        with self._lock:
            new = [record for record in records if record.sequence > self.head.sequence]
            for known in records:
                if known.sequence == self.head.sequence and bytes.fromhex(known.hash) != self.head.hash:
                    raise Diverged(f"audit record {known.sequence} is not the one that was copied")
            if not new:
                return
            if new[0].sequence != self.head.sequence + 1:
                raise Diverged(f"audit record {new[0].sequence} does not follow on {self.head.sequence}")
            self._write(new)

    def follow(self, rows: Rows) -> bool:
        """Copy the next page of what the database has committed; False when there was no more.

        Raises as `append`.
        """
        page = after(rows, self.head)
        if self.head.sequence and not page:
            raise Diverged(f"the log ends before record {self.head.sequence}, which was copied")
        self.append(page)
        return len(page) > PAGE

    def turn(self, common: Head) -> None:
        """The register goes on from `common`: a new life begins.  Its records come by `follow`."""
        with self._lock:
            self._close()
            self._life += 1
            self.head = common

    def lost(self, rows: Rows) -> Lost:
        """What the database has forgotten.  No records: it is the one that was copied, or a newer one."""
        if audit_hash(rows, self.head.sequence) == self.head.hash:
            return Lost(self.head, ())
        common, fault = Head(), ""
        forgotten: list[Record] = []
        for record in self._from_common(rows):
            own = Head(record.sequence, bytes.fromhex(record.hash))
            if not forgotten and audit_hash(rows, own.sequence) == own.hash:
                common = own
                continue
            if fault := _fault(forgotten[-1] if forgotten else None, common, record):
                break
            forgotten.append(record)
        return Lost(common, tuple(forgotten), fault)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _from_common(self, rows: Rows) -> Iterator[Record]:
        """The newest history from the file in which the database's own ends, to its end."""
        parts: list[tuple[str, int]] = []
        until = 2**63
        for name in reversed(self._names()):
            first = int(_NAME.fullmatch(name)[2])  # type: ignore[index]
            if first >= until:
                continue  # of an older life, and forgotten when the next one began
            parts.insert(0, (name, until))
            until = first
            record = next(self._read(name), None)
            if record is not None and audit_hash(rows, record.sequence) == bytes.fromhex(record.hash):
                break
        for name, until in parts:
            yield from takewhile(lambda record: record.sequence < until, self._read(name))  # noqa: B023

    def _write(self, records: Sequence[Record]) -> None:
        if self._file is None or self._octets > FILE_OCTETS:
            self._close()
            self._open(records[0].sequence)
        assert self._file is not None
        lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._octets)  # half a line would stand in the middle of the next ones
            raise
        self._octets += len(lines)
        self.head = Head(records[-1].sequence, bytes.fromhex(records[-1].hash))

    def _open(self, first: int) -> None:
        """The newest file, or a new one that begins with record `first`."""
        name, newest = f"{self._life:06}-{first:012}.jsonl", self._names()[-1:]
        if newest and newest[0].startswith(f"{self._life:06}-"):
            size = (self._directory / newest[0]).stat().st_size
            name = newest[0] if size <= FILE_OCTETS else name
        path = self._directory / name
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._octets = os.fstat(self._file).st_size
        sync_directory(self._directory)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._directory.iterdir() if _NAME.fullmatch(path.name))

    def _read(self, name: str) -> Iterator[Record]:
        with (self._directory / name).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield _decoder.decode(line)
                except msgspec.MsgspecError as error:
                    _log.critical("%s, line %d cannot be read (%s)", self._directory / name, number, error)
                    return


def after(rows: Rows, head: Head) -> list[Record]:
    """The record `head` itself, where the database has it, and a page of those after it."""
    found = rows.all(
        "SELECT sequence, at, kind, subject, content, hash FROM audit WHERE sequence >= ?"
        " ORDER BY sequence LIMIT ?",
        (head.sequence, PAGE + 1),
    )
    return [Record(**{**dict(row), "hash": row["hash"].hex()}) for row in found]


def audit_hash(rows: Rows, sequence: int) -> bytes | None:
    """The hash of a record of the database's log; of number 0 what stands before the first."""
    if sequence == 0:
        return audit.GENESIS
    row = rows.one("SELECT hash FROM audit WHERE sequence = ?", (sequence,))
    return None if row is None else bytes(row["hash"])


def _fault(before: Record | None, common: Head, record: Record) -> str:
    """Whether `record` follows on the one before it by the chain; "" when it does."""
    sequence, previous = (
        (common.sequence, common.hash) if before is None else (before.sequence, bytes.fromhex(before.hash))
    )
    digest = audit.digest_of(
        previous, record.sequence, record.at, record.kind, record.subject, record.content.encode()
    )
    if record.sequence == sequence + 1 and digest.hex() == record.hash:
        return ""
    return f"record {record.sequence} of the copy does not follow on {sequence}"


def _last_line(path: Path) -> bytes:
    """The last whole line; half of one behind it, as a crash leaves, is cut off: the database has it."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        length = 1 << 16
        while True:
            start = max(0, size - length)
            file.seek(start)
            tail = file.read(size - start)
            end = tail.rfind(b"\n") + 1
            begin = tail.rfind(b"\n", 0, max(end - 1, 0)) + 1
            if start == 0 or (end and begin):
                break
            length *= 4
        if end < len(tail):
            file.truncate(start + end)
    return tail[begin:end]


_decoder = msgspec.json.Decoder(Record)
