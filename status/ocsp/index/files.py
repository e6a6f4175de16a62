"""The files of the index, each of them whole or not believed.

- A **segment** holds the answers about a range of serial numbers: a header with a checksum, then records of
  one size in the order of their keys, each with a checksum of its own.  Written once, never changed.
- The **tail** takes what cannot wait until its segment is written again: entries with length and checksum,
  appended and forced to disk.  What follows the first entry that is not whole is not read.
- The **catalogue** names the segments and tails that count.  It is small, and replaced as a whole; the one
  before it stays, with all that it names.

Must never: believe a part of a record, header, entry or catalogue.

docs/adr/0033.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from struct import Struct

import msgspec

from core.durable import sync_directory
from status.ocsp.index.records import KEY_OCTETS, Frame, Record, packed, packed_octets, unpacked

CATALOGUE = "catalogue"
PREVIOUS = "catalogue.previous"
_MAGIC = b"OCSP\x00\x00\x00\x01"
_HEAD = Struct(">8sII")  # magic, octets of what follows, its CRC-32
_ENTRY = Struct(">II")  # octets, CRC-32
_FRAME, _ANSWER = b"F", b"A"
_MOST = 64 * 1024 * 1024
"""Octets of a header or entry at most: what says more is damaged."""

Kept = tuple[Frame, Record]


class Damaged(Exception):
    """A file of the index is not whole; the message says which."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One range in the catalogue: from the key `start` to that of the next segment.

    The file may hold more than the range, when it was split; its number is 0 while there is none.

    `made_at`: all of its answers are of this time or later; `until`: the first of them passes its nextUpdate
    then, 0 for none.  `version` and `row` tell up to which revocation version and row of the register it is
    complete; `folded` up to which tail it holds all that is in tails.  `refused` answers were not made or
    renewed, since the vault refused.
    """

    start: bytes
    number: int
    records: int = 0
    made_at: int = 0
    until: int = 0
    version: int = -1
    row: int = -1
    folded: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What counts.

    The register was followed up to `row` and the revocation `version`, and `last_row` had the id `last_id`
    then.  A segment that is not complete up to `wanted_row` and `wanted_version` is to be written again.
    """

    sequence: int = 0
    segments: tuple[Segment, ...] = (Segment(b"", 0),)
    tails: tuple[int, ...] = ()
    next_number: int = 1
    row: int = 0
    version: int = 0
    last_row: int = 0
    last_id: str = ""
    wanted_row: int = 0
    wanted_version: int = 0


@dataclass(frozen=True, slots=True)
class _Header:
    count: int
    slot: int
    frames: tuple[Frame, ...]


class SegmentFile:
    """A segment, mapped.  Raises `Damaged` when its header or its size is wrong."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise Damaged(f"{path.name}: {error}") from error
        header = _decoded(self._map)
        if header is None:
            raise Damaged(f"{path.name}: its header is not whole")
        try:
            read = msgspec.msgpack.decode(header, type=_Header)
        except msgspec.MsgspecError as error:
            raise Damaged(f"{path.name}: {error}") from error
        self.count = read.count
        self._frames = read.frames
        self._first = _HEAD.size + len(header)
        self._size = packed_octets(read.slot)
        self._places = range(self._first, self._first + self.count * self._size, self._size)
        if len(self._map) != self._first + self.count * self._size:
            raise Damaged(f"{path.name}: it has {len(self._map)} octets, not those its header tells of")

    def find(self, key: bytes) -> Kept | None:
        """What lies under `key`; None when there is nothing, or it is damaged."""
        low = bisect_left(self._places, key, key=self._key_at)
        if low == self.count:
            return None
        found = self._at(low)
        return found if found is not None and found[1].key == key else None

    def _key_at(self, at: int) -> bytes:
        return self._map[at : at + KEY_OCTETS]

    def __iter__(self) -> Iterator[Kept]:
        """All that is whole."""
        return (found for number in range(self.count) if (found := self._at(number)) is not None)

    def close(self) -> None:
        self._map.close()

    def _at(self, number: int) -> Kept | None:
        at = self._first + number * self._size
        found = unpacked(self._map[at : at + self._size])
        if found is None or found[1] >= len(self._frames):
            return None
        return self._frames[found[1]], found[0]


def write_segment(path: Path, answers: Iterable[Kept]) -> int:
    """Write a segment durably; how many records it has.  `answers` in the order of their keys."""
    numbers: dict[Frame, int] = {}
    listed = list(answers)
    slot = max((len(record.signature) for _, record in listed), default=0)
    records = [packed(record, numbers.setdefault(frame, len(numbers)), slot) for frame, record in listed]
    header = msgspec.msgpack.encode(_Header(len(records), slot, tuple(numbers)))
    write_durably(path, _encoded(header) + b"".join(records))
    return len(records)


class TailWriter:
    """Appends to a tail, which is made here and must not be there."""

    def __init__(self, path: Path) -> None:
        self.frames: dict[Frame, int] = {}
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.fsync(self._file)
        sync_directory(path.parent)

    def append(self, answers: Iterable[Kept]) -> None:
        """All of them, durable when it returns."""
        entries = []
        for frame, record in answers:
            if frame not in self.frames:
                self.frames[frame] = len(self.frames)
                entries.append(_FRAME + msgspec.msgpack.encode(frame))
            entries.append(_ANSWER + packed(record, self.frames[frame], len(record.signature)))
        octets = b"".join(_ENTRY.pack(len(entry), zlib.crc32(entry)) + entry for entry in entries)
        while octets:
            octets = octets[os.write(self._file, octets) :]
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


@dataclass(slots=True)
class TailReader:
    """Reads a tail as far as it is whole, and later what was appended since."""

    path: Path
    number: int
    frames: list[Frame] = field(default_factory=list)
    at: int = 0

    def news(self) -> list[Kept]:
        """What was appended since the last call."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size <= self.at:
                    return []
                file.seek(self.at)
                octets = file.read()
        except OSError:
            return []
        found: list[Kept] = []
        at = 0
        while at + _ENTRY.size <= len(octets):
            size, crc = _ENTRY.unpack_from(octets, at)
            entry = octets[at + _ENTRY.size : at + _ENTRY.size + size]
            if not 0 < size <= _MOST or len(entry) < size or zlib.crc32(entry) != crc:
                break  # it is being written, or was torn
            self._take(entry, found)
            at += _ENTRY.size + size
        self.at += at
        return found

    def is_whole(self) -> bool:
        """Whether nothing follows what could be read."""
        return self.path.exists() and self.path.stat().st_size == self.at

    def _take(self, entry: bytes, found: list[Kept]) -> None:
        kind, content = entry[:1], entry[1:]
        with contextlib.suppress(msgspec.MsgspecError):
            if kind == _FRAME:
                self.frames.append(msgspec.msgpack.decode(content, type=Frame))
            elif (record := unpacked(content)) is not None and record[1] < len(self.frames):
                found.append((self.frames[record[1]], record[0]))


def read_catalogue(directory: Path) -> Catalogue | None:
    """The newest whole catalogue; None when there is none."""
    for name in (CATALOGUE, PREVIOUS):
        try:
            octets = (directory / name).read_bytes()
        except OSError:
            continue
        content = _decoded(octets)
        if content is not None and len(octets) == _HEAD.size + len(content):
            with contextlib.suppress(msgspec.MsgspecError):
                return msgspec.msgpack.decode(content, type=Catalogue)
    return None


def write_catalogue(directory: Path, catalogue: Catalogue) -> Catalogue:
    """Replace the catalogue durably; it gets the next sequence number.  The one before it stays beside it."""
    numbered = replace(catalogue, sequence=catalogue.sequence + 1)
    new, current, previous = (directory / name for name in (f".{CATALOGUE}.new", CATALOGUE, PREVIOUS))
    content = _encoded(msgspec.msgpack.encode(numbered))
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if read_catalogue(directory) is not None and current.exists():
        beside = directory / f".{PREVIOUS}.new"
        beside.unlink(missing_ok=True)
        os.link(current, beside)
        os.replace(beside, previous)
    os.replace(new, current)
    sync_directory(directory)
    return numbered


def write_durably(path: Path, content: bytes) -> None:
    """The content under its name, or nothing under that name."""
    temporary = path.parent / f".{path.name}.new"
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def is_whole(path: Path) -> bool:
    """Whether the frame of a segment is; its records tell for themselves when they are read."""
    try:
        SegmentFile(path).close()
    except Damaged:
        return False
    return True


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"segment-{number}"


def tail_path(directory: Path, number: int) -> Path:
    return directory / f"tail-{number}"


def place(starts: list[bytes], key: bytes) -> int:
    """Which of the segments that begin at `starts` holds `key`."""
    at = bisect_left(starts, key)
    return at if at < len(starts) and starts[at] == key else at - 1


def _encoded(content: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, len(content), zlib.crc32(content)) + content


def _decoded(octets: bytes | mmap.mmap) -> bytes | None:
    """What `_encoded` put at the beginning of `octets`; None when it is not whole."""
    if len(octets) < _HEAD.size:
        return None
    magic, size, crc = _HEAD.unpack_from(octets)
    if magic != _MAGIC or size > _MOST:
        return None
    content = octets[_HEAD.size : _HEAD.size + size]
    return content if len(content) == size and zlib.crc32(content) == crc else None
