"""Of which serial numbers OCSP speaks, and what is new about them: for who signs answers ahead.

Every query is bounded.  Rows of the register are followed by their rowid, which rises in the order of the
commits; a row that was only *reserved* when it was met is looked at again until it is more.

Must never: change anything.

BR 4.9.10 (never of a serial number that was not assigned), 4.10.1; RFC 6960 section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.database import Row, Rows

_COLUMNS = "c.serial, c.issuer_id, coalesce(r.version, 0) AS version, r.revoked_at, r.reason"
_SPOKEN = (
    "c.state IN ('precertified', 'issued', 'lost') AND c.not_after >= ?"
    # The local-service issuer has no responder: its CRL answers.
    " AND c.issuer_id IN (SELECT id FROM issuers WHERE use = 'issuing')"
)
_FROM = "FROM certificates c LEFT JOIN revocations r ON r.serial = c.serial"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is to be said of a serial: good when `revoked_at` is None; `version` is its row's, or 0."""

    serial: bytes
    issuer_id: str
    version: int
    revoked_at: int | None
    reason: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """How far the register was followed: the row, its issuance id, and the revocation version."""

    row: int
    row_id: str
    version: int


def between(rows: Rows, start: bytes, end: bytes | None, now: int, limit: int) -> list[Standing]:
    """Of which serials from `start` to before `end` something is to be said at `now`, in their order."""
    upper = "" if end is None else " AND c.serial < ?"
    found = rows.all(
        f"SELECT {_COLUMNS} {_FROM} WHERE c.serial >= ?{upper} AND {_SPOKEN} ORDER BY c.serial LIMIT ?",
        (start, *(() if end is None else (end,)), now, limit),
    )
    return [_standing(row) for row in found]


def place(rows: Rows) -> Place:
    """The end of the register as it is now."""
    row = rows.one("SELECT rowid AS row, id FROM certificates ORDER BY rowid DESC LIMIT 1")
    version = newest_version(rows)
    return Place(0, "", version) if row is None else Place(row["row"], row["id"], version)


def is_there(rows: Rows, row: int, id: str) -> bool:
    """Whether this row is still what it was; not after an older register was restored."""
    found = rows.one("SELECT id FROM certificates WHERE rowid = ?", (row,))
    return row == 0 or (found is not None and found["id"] == id)


def rows_after(rows: Rows, row: int, limit: int) -> list[Row]:
    """The rows behind `row`: `row`, `id`, `state`."""
    return rows.all(
        "SELECT rowid AS row, id, state FROM certificates WHERE rowid > ? ORDER BY rowid LIMIT ?",
        (row, limit),
    )


def reserved(rows: Rows, limit: int) -> set[int]:
    """The rows that are still no more than a number drawn."""
    found = rows.all("SELECT rowid AS row FROM certificates WHERE state = 'reserved' LIMIT ?", (limit,))
    return {row["row"] for row in found}


def newest_version(rows: Rows) -> int:
    """The version of the newest change to any revocation; 0 when there is none."""
    row = rows.one("SELECT MAX(version) FROM revocations")
    return 0 if row is None or row[0] is None else int(row[0])


def newest_change(rows: Rows) -> tuple[object, ...]:
    """The newest change to any revocation; equal only when there was none meanwhile.

    Its serial number and time tell a register that was restored and has come to the same version again.
    """
    row = rows.one("SELECT version, serial, changed_at FROM revocations ORDER BY version DESC LIMIT 1")
    return () if row is None else tuple(row)


def still_reserved(rows: Rows, wanted: list[int]) -> set[int]:
    """Those of these rows that are."""
    found: set[int] = set()
    for at in range(0, len(wanted), 500):
        page = wanted[at : at + 500]
        marks = ", ".join("?" * len(page))
        sql = f"SELECT rowid AS row FROM certificates WHERE rowid IN ({marks}) AND state = 'reserved'"
        found |= {row["row"] for row in rows.all(sql, page)}
    return found


def of_rows(rows: Rows, wanted: list[int], now: int) -> list[Standing]:
    """What is to be said of these rows, without those of which nothing is said."""
    found: list[Standing] = []
    for at in range(0, len(wanted), 500):
        page = wanted[at : at + 500]
        marks = ", ".join("?" * len(page))
        found += map(
            _standing,
            rows.all(f"SELECT {_COLUMNS} {_FROM} WHERE c.rowid IN ({marks}) AND {_SPOKEN}", (*page, now)),
        )
    return found


def revoked_after(rows: Rows, version: int, now: int, limit: int) -> list[Standing]:
    """What is to be said of the serials whose revocation changed after `version`, in that order."""
    found = rows.all(
        f"SELECT {_COLUMNS} FROM revocations r JOIN certificates c ON c.serial = r.serial"
        f" WHERE r.version > ? AND {_SPOKEN} ORDER BY r.version LIMIT ?",
        (version, now, limit),
    )
    return [_standing(row) for row in found]


def revocation(rows: Rows, serial: bytes) -> int:
    """The version of the revocation of `serial`, 0 while there is none."""
    row = rows.one("SELECT version FROM revocations WHERE serial = ?", (serial,))
    return 0 if row is None else int(row[0])


def _standing(row: Row) -> Standing:
    return Standing(*row)
