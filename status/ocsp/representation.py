"""An OCSP answer as HTTP carries it: its header fields, and whether a cache has it already.

One representation for POST and GET: RFC 9919 section 7.2 forbids no-store on any authoritative answer.  The
unsigned errors are no-store, since what they say may change at any moment.

Must never: let a cache keep an answer up to its nextUpdate.

RFC 9919 sections 6 and 7.2; RFC 9110 section 13; RFC 9111 section 5.2.2.
"""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from status.ocsp.answer import Answer


def fields(answer: Answer, now: int, max_age: int) -> list[tuple[str, str]]:
    """What `head` writes, name and value, without the length."""
    lines = (line.partition(": ") for line in head(answer, now, max_age).decode("ascii").split("\r\n")[:-1])
    return [(name, value) for name, _, value in lines if name != "Content-Length"]


def head(answer: Answer, now: int, max_age: int) -> bytes:
    """The fields that speak of the answer itself, each with its line's end.

    `max_age` is the most seconds that a cache may give it out for; then, still before nextUpdate, it asks
    again.
    """
    length = len(answer.der)
    if answer.this_update is None or answer.next_update is None:
        return _UNSIGNED % length
    return _SIGNED % (
        length,
        max(0, min(max_age, answer.next_update - 1 - now)),
        http_date(answer.this_update),
        http_date(answer.next_update),
        answer.etag.encode("ascii"),
    )


_UNSIGNED = b"Content-Type: application/ocsp-response\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
_SIGNED = (
    b"Content-Type: application/ocsp-response\r\nContent-Length: %d\r\n"
    b"Cache-Control: max-age=%d, public, no-transform, must-revalidate\r\n"
    b'Last-Modified: %b\r\nExpires: %b\r\nETag: "%b"\r\n'
)


def not_modified(answer: Answer, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Whether a GET that holds these fields gets 304 (RFC 9110 section 13.2.2)."""
    if answer.this_update is None:
        return False
    if if_none_match is not None:
        tags = [each.strip() for each in if_none_match.split(",")]
        return any(each == "*" or each.removeprefix("W/") == f'"{answer.etag}"' for each in tags)
    # A date is a weak validator (RFC 9110 section 8.8.2.2): two answers of one second look alike to it.
    if if_modified_since is not None and not answer.young:
        since = _seconds(if_modified_since)
        return since is not None and answer.this_update <= since
    return False


@lru_cache(maxsize=65536)
def http_date(at: int) -> bytes:
    """IMF-fixdate of RFC 9110 section 5.6.7."""
    return formatdate(at, usegmt=True).encode("ascii")


@lru_cache(maxsize=1024)
def _seconds(date: str) -> int | None:
    """POSIX seconds of an HTTP-date; None for any other text, which a recipient ignores."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
