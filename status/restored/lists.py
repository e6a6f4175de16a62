"""The daily lists of a manifest, as evidence: which serial numbers were issued, and which were revoked.

A list is believed by its length and digest, which stand in a manifest that our key signed, or in the history
that such a manifest names (repo_static/manifest/days.py).

Must never: read behind the octets that are named: whatever follows is nobody's word.

docs/adr/0037; CPS 5.7.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from core.causes import REASONS
from core.database import Rows
from core.errors import Refused
from core.gaps import RESTORED
from repo_static.manifest.lists import ISSUED, REVOKED, day_of
from status.ocsp.issuers import not_after
from status.restored.outside import Said

__all__ = ["HISTORY", "ISSUED", "REVOKED", "Listed"]

HISTORY = "history"

MOST_DAYS = 4000
"""Days in a history: ten years."""

_CODES = {word: code for code, word in REASONS.items()}


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a manifest names: its path, and the SHA-256 (hex) of its first `size` octets.

    `kind` is "issued", "revoked" or "history"; `day` the day of a list ("2026-11-30"), "" of the history.
    """

    name: str
    kind: str
    day: str
    size: int
    sha256: str


def named_by(days: Mapping[str, Any]) -> tuple[Listed, ...]:
    """Of a manifest's "days": the history, and the lists of the day that was open.  Raises `Refused`."""
    try:
        history = days["history"]
        return (
            Listed("history.jsonl", HISTORY, "", int(history["size"]), str(history["sha256"])),
            *_of_day(days["open"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("the manifest's days", error) from error


def of_history(octets: bytes) -> list[Listed]:
    """The lists of all days that were over.  Raises `Refused`."""
    try:
        lines = octets.splitlines()[-MOST_DAYS:]
        return [each for line in lines for each in _of_day(msgspec.json.decode(line))]
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise _unreadable("history.jsonl", error) from error


def as_named(listed: Listed, content: bytes) -> bytes:
    """The octets that the manifest means.  Raises `Refused`."""
    octets = content[: listed.size]
    if len(octets) != listed.size or hashlib.sha256(octets).hexdigest() != listed.sha256:
        raise Refused(
            "outside.list-digest",
            f"{listed.name} is not what the manifest says (its first {listed.size} octets have another "
            "SHA-256, or it is shorter): fetch it from where the manifest came from",
        )
    return octets


def said(listed: Listed, octets: bytes, issuers: Mapping[str, int]) -> list[Said]:
    """What a list says of certificates of the `issuers` that we have, by id, with their ends.

    The shard is not in it; where it matters the certificate tells.  Raises `Refused`.
    """
    found = []
    try:
        for line in octets.splitlines():
            each = msgspec.json.decode(line)
            issuer, serial = str(each["issuer"]), bytes.fromhex(each["serial"])
            if issuer not in issuers:
                continue
            if listed.kind == REVOKED:
                at, reason = _time(each["revoked_at"]), _CODES[each["reason"]]
                found.append(Said(serial, issuer, 0, at, reason, issuers[issuer]))
            else:
                found.append(Said(serial, issuer, 0, None, 0, _time(each["not_after"])))
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(listed.name, error) from error
    return found


def issuers_of(rows: Rows) -> dict[str, int]:
    """The issuers that the register knows, and when their certificates end (POSIX seconds)."""
    found = rows.all("SELECT id, certificate FROM issuers")
    return {row["id"]: not_after(row["certificate"]) for row in found}


def first_day(rows: Rows) -> str:
    """The first day of which the register may lack something: that of its last CRL before a gap was found.

    A CA makes one every day while it is open, and none between a restore and the end of its gaps, however
    often it is started meanwhile.  "" where the day is not known, as when a person says that there was one.
    """
    gap = rows.one("SELECT subject FROM register_gaps WHERE subject = ? AND closed_at IS NULL", (RESTORED,))
    if gap is not None:
        return ""
    last = rows.one(
        "SELECT at FROM audit WHERE kind = 'crl' AND sequence <"
        " (SELECT MIN(sequence) FROM audit WHERE kind = 'register-gap'"
        " AND at >= (SELECT MIN(found_at) FROM register_gaps WHERE closed_at IS NULL))"
        " ORDER BY sequence DESC LIMIT 1"
    )
    return "" if last is None else day_of(last["at"])


def _of_day(day: Mapping[str, Any]) -> list[Listed]:
    # What was issued first: a revocation finds its certificate's end then.
    return [
        Listed(
            f"{kind}/{day_of(_time(day['date'] + 'T00:00:00Z'))}.jsonl",
            kind,
            str(day["date"]),
            int(day[kind]["list"]["size"]),
            str(day[kind]["list"]["sha256"]),
        )
        for kind in (ISSUED, REVOKED)
    ]


def _time(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _unreadable(name: str, error: Exception) -> Refused:
    return Refused("outside.list", f"{name}: what it says cannot be read ({error})")
