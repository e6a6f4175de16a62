"""The daily lists: what was issued and what was revoked, read from the audit log in its own order.

One writer appends the audit records, in the transaction of each act, so their order is that of the commits:
whoever reads on from the last record that he has seen misses nothing, and nothing comes late.  A line of a
list is an act of the day on which its record was written:

    issued/2026-11-30.jsonl    a precertificate or certificate was signed ("lost": it may have been)
    revoked/2026-11-30.jsonl   a certificate was revoked, or a revocation's reason became keyCompromise

So a list only grows until its day is over, and then it stays; a reason that is upgraded later is a line of
that later day.  No line holds a name, an account or anything else of a person: whoever looks for the names of
a public certificate finds them in the logs, by its serial number or by the SHA-256 of its precertificate, and
a private one's are nobody's business.

Must never: hold more of a day in memory than one window of records.

BR 5.4.1 (what is recorded); docs/adr/0037.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from core import audit
from core.causes import REASONS
from core.database import Row, Rows

ISSUED, REVOKED = "issued", "revoked"

WINDOW = 20_000
"""Audit records looked at in one step: 0.1 s, and some megabytes of lines."""

DAY = 86400

_SETTLED = 60
"""Seconds after midnight in which a commit of the day before may still appear."""

_ISSUING = ("precertificate", "issuance", "issuance-lost")
_REVOKING = ("revocation", "revocation-reason")
_KINDS = ", ".join(f"'{kind}'" for kind in (*_ISSUING, *_REVOKING))
_SIGNED = {"precertificate": "precertificate", "issuance": "certificate", "issuance-lost": "lost"}


@dataclass
class Tally:
    """How many serial numbers: `by` maps an issuer to its profiles, or to its reasons, and their counts."""

    count: int = 0
    by: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, issuer: str, what: str, count: int = 1) -> None:
        """So many more."""
        self.count += count
        counts = self.by.setdefault(issuer, {})
        counts[what] = counts.get(what, 0) + count


@dataclass
class Step:
    """What one window of records adds to a day: lines for each list, in octets, and the counts."""

    day: str
    lines: dict[str, list[bytes]] = field(default_factory=lambda: {ISSUED: [], REVOKED: []})
    tallies: dict[str, Tally] = field(default_factory=lambda: {ISSUED: Tally(), REVOKED: Tally()})


def day_of(at: int) -> str:
    """ "2026-11-30", in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def next_day(day: str) -> str:
    """The day after."""
    return day_of(starts(day) + DAY)


def starts(day: str) -> int:
    """Its first second."""
    return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())


def is_over(day: str, now: int) -> bool:
    """Whether no record of `day` can come any more."""
    return now >= starts(day) + DAY + _SETTLED


def step(rows: Rows, after: int, until: int) -> Iterator[Step]:
    """What the records numbered `after` + 1 to `until` add, one `Step` for each day among them."""
    found: Step | None = None
    for record in rows.all(
        # By number: an index by kind would have to be sorted first, however long the log is.
        f"SELECT at, kind, content FROM audit WHERE sequence > ? AND sequence <= ? AND +kind IN ({_KINDS})"
        " ORDER BY sequence",
        (after, until),
    ):
        day = day_of(record["at"])
        if found is None or found.day != day:
            if found is not None:
                yield found
            found = Step(day)
        _tell(rows, found, record)
    if found is not None:
        yield found


def window(rows: Rows, after: int) -> audit.Head:
    """The last record to look at next: `WINDOW` further, or the newest."""
    newest = audit.head(rows)
    return newest if newest.sequence <= after + WINDOW else head_at(rows, after + WINDOW)


def head_at(rows: Rows, sequence: int) -> audit.Head:
    """The record of that number; (0, GENESIS) where there is none."""
    row = rows.one("SELECT sequence, hash FROM audit WHERE sequence = ?", (sequence,))
    return audit.Head() if row is None else audit.Head(row["sequence"], row["hash"])


def last_before(rows: Rows, at: int) -> int:
    """The number of the last record before the second `at`; times rise with the numbers."""
    low, high = 0, audit.head(rows).sequence
    while low < high:
        middle = (low + high + 1) // 2
        row = rows.one("SELECT at FROM audit WHERE sequence = ?", (middle,))
        low, high = (middle, high) if row is not None and row["at"] < at else (low, middle - 1)
    return low


def _tell(rows: Rows, step: Step, record: Row) -> None:
    content = msgspec.json.decode(record["content"])
    at = iso(record["at"])
    if record["kind"] in _REVOKING:
        reason = REASONS.get(content["reason"], "unspecified")
        line: dict[str, Any] = {
            "at": at,
            "issuer": content["issuer"],
            "serial": content["serial"],
            "revoked_at": iso(content["revoked_at"]),
            "reason": reason,
            "version": content["version"],
        }
        step.lines[REVOKED].append(msgspec.json.encode(line) + b"\n")
        if record["kind"] == "revocation":
            step.tallies[REVOKED].add(content["issuer"], reason)
        return
    row = rows.one(
        "SELECT issuer_id, profile, not_before, not_after, precertificate, certificate FROM certificates"
        " WHERE serial = ?",
        (bytes.fromhex(content["serial"]),),
    )
    if row is None:
        raise ValueError(f"the audit log tells of serial {content['serial']}, which the register lacks")
    kind = _SIGNED[record["kind"]]
    octets = row[kind] if kind != "lost" else None
    line = {
        "at": at,
        "kind": kind,
        "issuer": row["issuer_id"],
        "serial": content["serial"],
        "not_before": iso(row["not_before"]),
        "not_after": iso(row["not_after"]),
        "sha256": None if octets is None else hashlib.sha256(octets).hexdigest(),
    }
    step.lines[ISSUED].append(msgspec.json.encode(line) + b"\n")
    if kind == "precertificate" or row["precertificate"] is None:
        step.tallies[ISSUED].add(row["issuer_id"], row["profile"])


def iso(at: int) -> str:
    """ "2026-11-30T12:00:00Z"."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
