"""core/der.py against two encoders that others wrote."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asn1crypto import core as asn1
from hypothesis import given
from hypothesis import strategies as st

from core import der


@given(st.integers(0, 1 << 200))
def test_an_integer_is_encoded_as_asn1crypto_does(value: int) -> None:
    assert der.integer(value) == asn1.Integer(value).dump()


def test_a_negative_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        der.integer(-1)


@given(st.binary(max_size=70000))
def test_lengths_of_all_sizes_are_encoded_as_asn1crypto_does(content: bytes) -> None:
    assert der.octet_string(content) == asn1.OctetString(content).dump()


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536, 16777216])
def test_lengths_at_the_boundaries_are_encoded_as_asn1crypto_does(length: int) -> None:
    assert der.octet_string(bytes(length)) == asn1.OctetString(bytes(length)).dump()


@given(
    st.one_of(
        st.tuples(st.integers(0, 1), st.integers(0, 39)), st.tuples(st.just(2), st.integers(0, 1 << 40))
    ),
    st.lists(st.integers(0, 1 << 70), max_size=8),
)
def test_an_object_identifier_is_encoded_as_asn1crypto_does(head: tuple[int, int], rest: list[int]) -> None:
    dotted = ".".join(str(arc) for arc in (*head, *rest))
    assert der.oid(dotted) == asn1.ObjectIdentifier(dotted).dump()


@pytest.mark.parametrize("dotted", ["3.1", "1.40", "1", "", "1.2.-3", "a.b"])
def test_what_is_no_object_identifier_is_refused(dotted: str) -> None:
    with pytest.raises(ValueError):
        der.oid(dotted)


@pytest.mark.clause("X.690 section 11.2.2")
@given(st.sets(st.integers(0, 8)))
def test_named_bits_are_encoded_as_the_x509_key_usage_of_asn1crypto(positions: set[int]) -> None:
    from asn1crypto.x509 import KeyUsage

    names = {KeyUsage._map[position] for position in positions}  # type: ignore[index]
    assert der.named_bits(*positions) == KeyUsage(names).dump()


@pytest.mark.clause("RFC 5280 section 4.1.2.5")
@pytest.mark.parametrize(
    ("moment", "octets"),
    [
        ("1950-01-01T00:00:00", b"\x17\x0d500101000000Z"),
        ("2026-11-24T09:08:07", b"\x17\x0d261124090807Z"),
        ("2049-12-31T23:59:59", b"\x17\x0d491231235959Z"),
        ("2050-01-01T00:00:00", b"\x18\x0f20500101000000Z"),
        ("9999-12-31T23:59:59", b"\x18\x0f99991231235959Z"),
    ],
)
def test_time_changes_its_type_with_the_year_2050(moment: str, octets: bytes) -> None:
    at = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    assert der.time(at) == octets


def test_a_time_before_1950_is_refused() -> None:
    with pytest.raises(ValueError, match="1950"):
        der.time(-631152001)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_what_was_written_is_read_back(contents: list[bytes]) -> None:
    parts = [der.octet_string(content) for content in contents]
    whole = der.only(der.sequence(*parts), der.SEQUENCE)
    assert [element.content for element in der.elements(whole.content)] == contents
    assert [element.encoding for element in der.elements(whole.content)] == parts


@pytest.mark.parametrize(
    "octets",
    [
        b"\x04",  # no length
        b"\x04\x02a",  # cut off
        b"\x04\x80a\x00\x00",  # indefinite length
        b"\x04\x81\x01a",  # length not in the shortest form
        b"\x04\x82\x00\x80" + bytes(128),  # leading zero in the length
        b"\x04\x85\x01\x00\x00\x00\x00",  # length of five octets
        b"\x04\x82\x01",  # length cut off
        b"\x1f\x81\x01\x00",  # high tag
    ],
)
def test_what_is_not_der_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="not DER"):
        list(der.elements(octets))


@given(st.binary(max_size=40))
def test_reading_anything_gives_elements_that_cover_it_or_a_valueerror(octets: bytes) -> None:
    try:
        found = list(der.elements(octets))
    except ValueError:
        return
    assert b"".join(element.encoding for element in found) == octets
    assert all(der.tlv(element.tag, element.content) == element.encoding for element in found)


def test_two_elements_are_not_one() -> None:
    with pytest.raises(ValueError, match="expected one"):
        der.only(der.NULL + der.NULL, der.NULL_TAG)


def test_a_set_is_sorted() -> None:
    assert der.set_of(b"\x02\x01\x02", b"\x02\x01\x01") == b"\x31\x06\x02\x01\x01\x02\x01\x02"
