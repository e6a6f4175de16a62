"""CAA against a second, naive reading of the RFCs: values, sets and whole trees, sound and broken."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.evidence import Result
from tests.support import caa_oracle
from tests.support.fake_dns import TableResolver, caa, failure
from validation.caa import CaaForbids, Issuance, check, evaluate
from validation.caa_value import CaaRecord, IssueValue, MalformedValue, parse_issue_value
from validation.verdict import Trace

ACCOUNT = "https://ca.example/acme/account/1"
OURS = frozenset({"ca.example", "xn--bcher-kva.example"})

ALNUM = st.sampled_from(caa_oracle.ALNUM.decode())
LABEL = st.builds(
    lambda first, rest: first + "".join("-" * dashes + letter for dashes, letter in rest),
    ALNUM,
    st.lists(st.tuples(st.integers(0, 2), ALNUM), max_size=5),
)
ISSUER = st.one_of(
    st.sampled_from(
        ["", "ca.example", "CA.Example", "xn--bcher-kva.example", "sub.ca.example", "ca.example.org"]
    ),
    st.lists(LABEL, min_size=1, max_size=4).map(".".join),
)
WSP = st.text(alphabet=" \t", max_size=2)
TEXT = st.text(alphabet=[chr(c) for c in range(0x21, 0x7F) if c != 0x3B], max_size=12)
METHODS = st.lists(st.sampled_from(["http-01", "dns-01", "tls-alpn-01", "x", "DNS-01", ""]), max_size=3)
PARAMETER = st.one_of(
    st.tuples(st.sampled_from(["accounturi", "AccountURI"]), st.sampled_from([ACCOUNT, ACCOUNT + "2", ""])),
    st.tuples(st.sampled_from(["validationmethods", "ValidationMethods"]), METHODS.map(",".join)),
    st.tuples(LABEL, TEXT),
)


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """An issue-value of the grammar, white space wherever it may stand."""
    written = draw(WSP) + draw(ISSUER) + draw(WSP)
    parameters = draw(st.lists(PARAMETER, max_size=3))
    if parameters or draw(st.booleans()):
        written += ";" + draw(WSP)
    pieces = [f"{tag}{draw(WSP)}={draw(WSP)}{value}{draw(WSP)}" for tag, value in parameters]
    return (written + (";" + draw(WSP)).join(pieces)).encode()


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Such a value with a few octets changed, put in or taken out."""
    value = bytearray(draw(values()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value)))
        octet = draw(st.sampled_from(b' \t;=.-,a1A_%"\x00\x7f\xc3\xff\n'))
        kind = draw(st.sampled_from(["set", "insert", "cut", "double"]))
        if kind == "insert":
            value[at:at] = bytes([octet])
        elif kind == "double":
            value[at:at] = value[at : at + 8]
        else:
            value[at : at + 1] = bytes([octet]) if kind == "set" else b""
    return bytes(value)


RECORD = st.tuples(
    st.sampled_from([0, 0, 0, 1, 2, 64, 127, 128, 129, 255]),
    st.sampled_from(["issue", "issue", "ISSUE", "issuewild", "IssueWild", "iodef", "issuemail", "tbs", "a1"]),
    values() | broken(),
)
RECORDS = st.lists(RECORD, max_size=4)


def permitted(records: list[caa_oracle.Record], wildcard: bool, method: str = "dns-01") -> bool:
    parsed = [CaaRecord.parse(caa(flags, tag, value)) for flags, tag, value in records]
    try:
        evaluate(parsed, Issuance(wildcard, OURS, ACCOUNT, method))
    except CaaForbids:
        return False
    return True


def parsed(value: bytes) -> tuple[str, list[tuple[str, str]]] | None:
    try:
        read = parse_issue_value(value)
    except MalformedValue:
        return None
    return read.issuer, list(read.parameters)


@pytest.mark.row("caa.issue-value")
@pytest.mark.clause("RFC 8659 section 4.2")
@settings(max_examples=300)
@given(values())
def test_every_value_of_the_grammar_is_read_as_the_grammar_reads_it(value: bytes) -> None:
    assert parsed(value) is not None
    assert parsed(value) == caa_oracle.issue_value(value)


@pytest.mark.row("caa.issue-value")
@pytest.mark.clause("RFC 8659 section 4.2")
@settings(max_examples=600)
@given(broken() | st.binary(max_size=40))
@example(b"ca.example;")
@example(b"ca.example; a=b;")
@example(b"; a=b")
@example(b"ca.example\n")
@example(b"ca.example; a=b\n")
@example("ca.exa\u0661ple".encode())
def test_a_broken_value_is_malformed_exactly_when_the_grammar_says_so(value: bytes) -> None:
    assert parsed(value) == caa_oracle.issue_value(value)


@given(ISSUER, st.lists(PARAMETER, max_size=4))
def test_what_is_read_and_written_again_reads_the_same(
    issuer: str, parameters: list[tuple[str, str]]
) -> None:
    value = IssueValue(issuer.lower(), tuple((tag.lower(), text) for tag, text in parameters))
    written = value.issuer + "".join(f"; {tag}={text}" for tag, text in value.parameters)
    assert parse_issue_value(written.encode()) == value


@pytest.mark.parametrize(
    "filler", [b"-", b" ", b";", b"=", b".", b"a", b"a-", b"a.", b"; a=b", b"\xff", b"a="]
)
@pytest.mark.parametrize("start", [b"", b"a", b"ca.example; a", b"ca.example;"])
def test_the_longest_value_is_read_in_no_time(start: bytes, filler: bytes) -> None:
    value = (start + filler * 65_000)[:65_000]
    begun = time.process_time()
    assert parsed(value) is None or value
    # A thousandth of it on a quiet machine; what grows with the square of the length takes minutes.
    assert time.process_time() - begun < 2


@pytest.mark.row("caa.tags")
@pytest.mark.row("caa.wildcard")
@pytest.mark.row("caa.account")
@pytest.mark.row("caa.method")
@pytest.mark.clause("RFC 8659 section 4")
@settings(max_examples=700)
@given(RECORDS, st.booleans(), st.sampled_from(["http-01", "dns-01", "tls-alpn-01"]))
def test_a_set_permits_what_a_second_reading_of_the_rfcs_permits(
    records: list[caa_oracle.Record], wildcard: bool, method: str
) -> None:
    expected = caa_oracle.permits(records, wildcard, set(OURS), ACCOUNT, method)
    assert permitted(records, wildcard, method) == expected


@given(RECORDS, st.booleans(), st.randoms())
def test_the_order_of_records_is_no_matter(records, wildcard: bool, random) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    assert permitted(records, wildcard) == permitted(shuffled, wildcard)


@given(RECORDS, st.booleans())
def test_a_property_that_names_us_without_conditions_is_never_needed_twice(records, wildcard: bool) -> None:
    tag = "issuewild" if wildcard else "issue"
    restricted = [record for record in records if record[0] in (0, 2, 64, 127)]
    assert permitted([*restricted, (0, tag, b"ca.example")], wildcard) or any(
        flags == 127 and name in ("tbs", "a1") for flags, name, _ in restricted
    )


@pytest.mark.row("caa.wildcard")
@given(RECORDS)
def test_plain_names_ignore_issuewild(records) -> None:
    without = [record for record in records if record[1].lower() != "issuewild" or record[0] & 0x81]
    assert permitted(records, False) == permitted(without, False)


LEVEL = st.one_of(st.just([]), st.none(), st.just("failure"), RECORDS, st.just([(0, "issue", b"ca.example")]))


@pytest.mark.row("caa.climb")
@pytest.mark.clause("RFC 8659 section 3")
@settings(max_examples=300)
@given(st.lists(LEVEL, min_size=1, max_size=5), st.booleans())
def test_a_tree_is_judged_as_one_would_climb_it_by_hand(levels, wildcard: bool) -> None:
    labels = [f"l{number}" for number in range(len(levels))]
    names = [".".join(labels[number:]) for number in range(len(levels))]
    table = {
        f"{name} CAA": failure(name)
        if level == "failure"
        else None
        if level is None
        else [caa(flags, tag, value) for flags, tag, value in level]
        for name, level in zip(names, levels, strict=True)
    }
    issuance = Issuance(wildcard, OURS, ACCOUNT, "dns-01")
    seen = asyncio.run(check(names[0], issuance, TableResolver(table), Trace(), tld_must_exist=True))
    relevant = caa_oracle.climb(levels)
    if relevant == "failure":
        assert (seen.result, seen.problem) == (Result.FAIL, "dns")
        assert seen.detail.startswith(f"While processing CAA for {names[0]}: ")
        return
    assert not isinstance(relevant, str)
    allowed = caa_oracle.permits(relevant, wildcard, set(OURS), ACCOUNT, "dns-01")
    assert (seen.result, seen.problem) == ((Result.PASS, "") if allowed else (Result.FAIL, "caa"))
    assert bool(seen.found_at) == bool(relevant)
