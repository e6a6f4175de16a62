"""What a hostile host's octets look like once written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.verdict import DETAIL_LIMIT, LINE_LIMIT, TRACE_LIMIT, CheckFailed, Trace, printable


@pytest.mark.row("attacks.log-injection")
@given(st.binary(max_size=300) | st.text(max_size=300), st.integers(10, 200))
def test_anything_becomes_short_printable_ascii(text: str | bytes, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.isascii()
    assert shown.isprintable() or shown == ""


def test_plain_text_stays_as_it_is() -> None:
    assert printable("GET http://a.example/", 80) == "GET http://a.example/"
    assert printable("a" * 81, 80) == "a" * 77 + "..."


@pytest.mark.row("attacks.log-injection")
def test_a_trace_is_bounded_in_lines_and_in_width() -> None:
    trace = Trace()
    for _ in range(1000):
        trace.add("\n" * 1000)
    assert len(trace.lines()) == TRACE_LIMIT
    assert all(len(line) <= LINE_LIMIT and "\n" not in line for line in trace.lines())


@pytest.mark.row("attacks.log-injection")
def test_a_detail_is_bounded() -> None:
    assert len(CheckFailed("dns", "\x1b" * 1000).detail) <= DETAIL_LIMIT
