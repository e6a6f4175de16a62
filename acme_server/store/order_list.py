"""An account's orders in pages: what a page costs depends on its size, not on what the account ever ordered.

Orders that can still be worked on come first, by the time at which they end, so that those whose time is over
lie before the first that is read; then the others, the oldest first.  Invalid orders are in neither index.  A
list is read while its orders move: one that is finished meanwhile may be in it twice, and is never left out.

RFC 8555 section 7.1.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.database import Rows

_OPEN, _DONE = "open", "done"

_AFTER_ALL = 2**63 - 1
"""A rowid beyond all of the same second."""

OPEN = (
    "SELECT id FROM orders WHERE account_id = ? AND status IN ('pending', 'ready')"
    " AND (expires, rowid) > (?, ?) ORDER BY expires, rowid LIMIT ?"
)
DONE = (
    "SELECT id FROM orders WHERE account_id = ? AND status IN ('processing', 'valid')"
    " AND (created_at, rowid) > (?, ?) ORDER BY created_at, rowid LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Ids of orders, and the cursor of the next page; None after the last."""

    ids: list[str]
    following: str | None


def page(rows: Rows, account_id: str, cursor: str | None, count: int, now: int) -> Page:
    """The page that `cursor` (of the page before) leads to; any other cursor begins anew."""
    kind, _, last = (cursor or "").partition(".")
    ids: list[str] = []
    if kind != _DONE:
        ids = _open(rows, account_id, last, count + 1, now)
        if len(ids) > count:
            return Page(ids[:count], f"{_OPEN}.{ids[count - 1]}")
        last = ""
    # One more than there is room for tells whether there is another page.
    room = count - len(ids)
    done = _done(rows, account_id, last, room + 1)
    ids += done[:room]
    if len(done) <= room:
        return Page(ids, None)
    return Page(ids, f"{_DONE}.{done[room - 1] if room else ''}")


def _open(rows: Rows, account_id: str, last: str, count: int, now: int) -> list[str]:
    row = rows.one("SELECT expires, rowid FROM orders WHERE id = ? AND account_id = ?", (last, account_id))
    since = max((now, _AFTER_ALL), (0, 0) if row is None else (row[0], row[1]))
    return [row[0] for row in rows.all(OPEN, (account_id, *since, count))]


def _done(rows: Rows, account_id: str, last: str, count: int) -> list[str]:
    row = rows.one("SELECT created_at, rowid FROM orders WHERE id = ? AND account_id = ?", (last, account_id))
    since = (0, 0) if row is None else (row[0], row[1])
    return [row[0] for row in rows.all(DONE, (account_id, *since, count))]
