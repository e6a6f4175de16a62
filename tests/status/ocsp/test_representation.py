"""status/ocsp/representation.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from status.ocsp.answer import MALFORMED, Answer
from status.ocsp.representation import fields, head, http_date, not_modified
from tests.support.database import NOW

ANSWER = Answer(b"octets", NOW, NOW + 1000, "ab")
DATE = "Mon, 23 Nov 2026 00:00:00 GMT"


def test_a_date_is_written_as_http_wants_it() -> None:
    assert http_date(NOW) == DATE.encode()


@pytest.mark.clause("RFC 9919 section 7.2")
@pytest.mark.parametrize(
    ("now", "max_age", "expected"),
    [
        (NOW, 600, 600),
        (NOW + 399, 600, 600),
        (NOW + 400, 600, 599),
        (NOW + 999, 600, 0),
        (NOW + 2000, 600, 0),
    ],
)
def test_a_cache_keeps_it_no_longer_than_is_set_and_never_up_to_next_update(
    now: int, max_age: int, expected: int
) -> None:
    said = dict(fields(ANSWER, now, max_age))["Cache-Control"]
    assert said == f"max-age={expected}, public, no-transform, must-revalidate"


def test_an_error_is_not_stored() -> None:
    assert fields(MALFORMED, NOW, 600) == [
        ("Content-Type", "application/ocsp-response"),
        ("Cache-Control", "no-store"),
    ]
    assert b"Content-Length: 5\r\n" in head(MALFORMED, NOW, 600)


@pytest.mark.clause("RFC 9110 section 13.1.2")
@pytest.mark.parametrize("given_tags", ['"ab"', 'W/"ab"', '"x", "ab"', "*", ' "x" ,W/"ab"'])
def test_an_entity_tag_that_matches_means_not_modified(given_tags: str) -> None:
    assert not_modified(ANSWER, given_tags, None)
    assert not not_modified(MALFORMED, given_tags, None)


@pytest.mark.clause("RFC 9110 section 13.2.2")
def test_a_tag_that_does_not_match_outweighs_a_date_that_does() -> None:
    assert not not_modified(ANSWER, '"x"', DATE)
    assert not_modified(ANSWER, None, DATE)


@pytest.mark.parametrize(
    "date", ["Sun, 22 Nov 2026 23:59:59 GMT", "yesterday", "", "Mon, 99 Nov 2026 00:00:00 GMT"]
)
def test_an_earlier_date_or_none_at_all_means_modified(date: str) -> None:
    assert not not_modified(ANSWER, None, date)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_in_a_condition_raises(tags: str, date: str) -> None:
    not_modified(ANSWER, tags, None)
    not_modified(ANSWER, None, date)
