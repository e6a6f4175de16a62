"""The grammar of CAA records and issue values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.caa_value import CaaRecord, IssueValue, MalformedValue, parse_issue_value


@pytest.mark.row("caa.issue-value")
@pytest.mark.clause("RFC 8659 section 4.2")
@pytest.mark.must("rfc8659.4.2.malformed")
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


@pytest.mark.must("rfc8659.4.1.tag-length")
@pytest.mark.parametrize(
    "rdata", [b"", b"\x00", b"\x00\x00value", b"\x00\x05iss", b"\x00\x03a-b", b"\x00\x02\xff\xff"]
)
def test_a_record_without_a_proper_tag_is_malformed(rdata: bytes) -> None:
    with pytest.raises(MalformedValue):
        CaaRecord.parse(rdata)


RECORD = st.builds(
    CaaRecord,
    st.integers(0, 255),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=15),
    st.binary(max_size=60),
)


@pytest.mark.row("mpic.reevaluation", "caa.record")
@given(RECORD)
def test_what_is_written_into_a_statement_reads_back_as_the_same_record(record: CaaRecord) -> None:
    assert CaaRecord.from_presentation(record.presentation()) == record


@pytest.mark.clause("RFC 1035 section 5.1")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('0 issue "ca.example"', b"ca.example"),
        ('0 ISSUE "a\\"b\\\\c\\;d"', b'a"b\\c;d'),
        ('128 issue "\\000\\255"', b"\x00\xff"),
        ('0 issue ""', b""),
    ],
)
def test_the_zone_file_form_is_read(text: str, value: bytes) -> None:
    assert CaaRecord.from_presentation(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 issue ca.example",
        '256 issue "x"',
        '-1 issue "x"',
        '0 is-sue "x"',
        '0  issue "x"',
        '0 issue "x',
        '0 issue "x"y"',
        '0 issue "x" ',
        '0 issue "x\\"',
        '0 issue "\\256"',
        '0 issue "\\12"',
        '0 issue "\u00e9"',
        '0 issue "\n"',
        '0 issue "x...',
        '\u0660 issue "x"',
    ],
)
def test_what_is_no_zone_file_form_is_malformed(text: str) -> None:
    with pytest.raises(MalformedValue):
        CaaRecord.from_presentation(text)
