"""Conditional and partial requests for a file: which part of it, if any, an answer holds.

Must never: answer with a part of other content than the asker has begun with (If-Range).

RFC 9110 sections 8.8, 13.1, 13.2.2, 14.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)
"""One range.  Of several none is served: the whole file is an answer, too (section 14.2)."""

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


@dataclass(frozen=True, slots=True)
class Wanted:
    """The status of an answer, and the octets `start` to `end` (exclusive) of the file that it holds."""

    status: int
    start: int = 0
    end: int = 0


def judge(headers: Mapping[str, str], *, head: bool, etag: str, modified: int, size: int) -> Wanted:
    """What to answer to these request headers.

    `etag` is strong and without quotes, `modified` in POSIX seconds, `size` of the representation.
    """
    if "If-Match" in headers:
        if not _names(headers["If-Match"], etag):
            return Wanted(412)
    elif (since := _date(headers.get("If-Unmodified-Since"))) is not None and modified > since:
        return Wanted(412)
    if "If-None-Match" in headers:
        if _names(headers["If-None-Match"], etag):
            return Wanted(304)
    elif (since := _date(headers.get("If-Modified-Since"))) is not None and modified <= since:
        return Wanted(304)
    whole = Wanted(200, 0, size)
    # Section 14.2: a range is of GET alone; and one of an older file is answered with the new one.
    if head or "Range" not in headers or not _still(headers.get("If-Range"), etag, modified):
        return whole
    return _part(headers["Range"], size) or whole


def _part(header: str, size: int) -> Wanted | None:
    """The range asked for; None for what is to be ignored."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or found[0].strip().endswith("=-"):
        return None
    first, last = found[1], found[2]
    if not first:  # the last octets
        start, end = max(0, size - int(last)), size
        return Wanted(206, start, end) if int(last) and size else Wanted(416)
    start, end = int(first), min(size, int(last) + 1) if last else size
    if last and int(last) < start:
        return None
    return Wanted(206, start, end) if start < size else Wanted(416)


def _names(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag in _TAG.findall(header)


def _still(header: str | None, etag: str, modified: int) -> bool:
    """If-Range: the very tag, not a weak one, or the very date."""
    if header is None:
        return True
    return header.strip() in (f'"{etag}"', formatdate(modified, usegmt=True))


def _date(header: str | None) -> int | None:
    if header is None:
        return None
    try:
        return int(parsedate_to_datetime(header).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None  # section 13.1.3: what is no date is ignored
