"""The grammar of CAA records and issue values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.caa_value import CaaRecord, IssueValue, MalformedValue, parse_issue_value


@pytest.mark.row("caa.issue-value")
@pytest.mark.clause("RFC 8659 section 4.2")
@pytest.mark.parametrize(
    "value",
    [
        b"ca.example; account",
        b"ca.example; =x",
        b"ca.example; a=b c=d",
        b"ca.example; a=b;",
        b"ca.example;; a=b",
        b"ca.example a=b",
        b"ca_example",
        b"-ca.example",
        b"ca.example-",
        b"ca..example",
        b"ca.example.",
        b"ca.example; a_b=c",
        b"%%%%%",
        b"ca.example\x00",
        b"ca.ex\xc3\xa4mple",
        b'"ca.example"',
    ],
)
def test_a_value_outside_the_grammar_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedValue):
        parse_issue_value(value)


@pytest.mark.row("caa.issue-value")
@pytest.mark.parametrize("value", [b"", b";", b" ; ", b"\t"])
def test_an_empty_value_names_nobody(value: bytes) -> None:
    assert parse_issue_value(value) == IssueValue("", ())


@given(st.binary(max_size=40))
def test_arbitrary_rdata_is_a_record_or_malformed(rdata: bytes) -> None:
    try:
        record = CaaRecord.parse(rdata)
    except MalformedValue:
        return
    assert record.presentation().isprintable()


@pytest.mark.row("caa.tags")
def test_tags_are_lower_cased_and_odd_octets_escaped() -> None:
    record = CaaRecord.parse(b"\x80\x05IsSue" + b'a"b\\\x1b')
    assert (record.tag, record.critical) == ("issue", True)
    assert record.presentation() == r'128 issue "a\"b\\\027"'


@pytest.mark.parametrize(
    "rdata", [b"", b"\x00", b"\x00\x00value", b"\x00\x05iss", b"\x00\x03a-b", b"\x00\x02\xff\xff"]
)
def test_a_record_without_a_proper_tag_is_malformed(rdata: bytes) -> None:
    with pytest.raises(MalformedValue):
        CaaRecord.parse(rdata)
