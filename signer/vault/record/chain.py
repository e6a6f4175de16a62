"""Lines that hold each other: a JSON object whose last member `hash` covers it and the line before.

`hash` is SHA-256 over the hash of the line before (32 zero octets before the first) and this line with
`"hash":""`, without its newline; an auditor needs no program of ours to check it.  The vault's journal and
the transcripts of ceremonies are written so.

Must never: accept a line by its meaning; only its octets count, so what older software wrote still holds.

BR 5.4.1, 5.4.3 (protection of the audit log); CPS 5.4.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import Any

import msgspec

GENESIS = bytes(32)
"""The hash before the first line."""

_encoder = msgspec.json.Encoder()
_CLOSE = b'"}'


def seal(entry: Any, previous: bytes) -> tuple[bytes, bytes]:
    """The line of a dataclass whose last field is `hash`, and its hash."""
    unsealed = _encoder.encode(dataclasses.replace(entry, hash=b"") if entry.hash else entry)
    hashed = hashlib.sha256(previous + unsealed).digest()
    # `hash` is the last field: the line differs from the unsealed one only between its last quotes.
    return unsealed[: -len(_CLOSE)] + end(hashed), hashed


def digest(line: bytes, previous: bytes) -> bytes:
    """The hash that the line must carry: of its octets as written, so that entries of older software hold."""
    return hashlib.sha256(previous + line[: -len(end(GENESIS))] + _CLOSE).digest()


def end(hashed: bytes) -> bytes:
    """How a line with this hash ends."""
    return _encoder.encode(hashed)[1:-1] + _CLOSE + b"\n"


def write_fully(file: int, data: bytes) -> None:
    """All of `data`, whatever write(2) takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
