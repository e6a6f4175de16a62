"""status/crl/parts.py: a CRL taken apart, and entries that must say what they were encoded from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings

from core.errors import Refused
from signer.api import CrlRequest
from status.crl import parts
from status.crl.entries import encoded
from tests.signer.vault.lint.test_crl_blocks import ROWS, Row
from tests.support.software_vault import CREATED, DAY, SoftwareVault

ALIKE = [(bytes([n]) * 17, CREATED - n * 1000, (0, 1, 9)[n % 3]) for n in range(1, 9)]
MIXED = [(b"\x00\x80", CREATED, 1), (b"\x01" * 17, 2524608000, 0), (b"\x7f" * 20, CREATED, 4)]


@settings(deadline=None)
@given(rows=ROWS)
def test_what_was_encoded_says_the_same_again(rows: list[Row]) -> None:
    assert list(parts.said(encoded(rows))) == rows
    parts.must_say(encoded(rows), rows)


@pytest.mark.parametrize("rows", [ALIKE, MIXED], ids=["alike", "mixed"])
def test_any_octet_changed_left_out_or_added_is_noticed(rows: list[Row]) -> None:
    octets = encoded(rows)
    parts.must_say(octets, rows)
    for position in range(len(octets)):
        rest = octets[position + 1 :]
        changes = [octets[:position] + bytes([octets[position] ^ bit]) + rest for bit in (1, 0x10, 0x80)]
        changes += [octets[:position] + rest, octets[:position] + b"\x00" + octets[position:]]
        for changed in changes:
            if changed != octets:
                with pytest.raises(Refused, match=r"status\.crl-mismatch"):
                    parts.must_say(changed, rows)


@pytest.mark.parametrize(
    "change", [lambda rows: rows[1:], lambda rows: rows[::-1], lambda rows: [*rows, rows[0]]]
)
def test_an_entry_less_or_more_or_elsewhere_is_noticed(change: object) -> None:
    with pytest.raises(Refused):
        parts.must_say(encoded(ALIKE), change(ALIKE))  # type: ignore[operator]


@pytest.mark.clause("RFC 5280 section 5.1")
def test_the_parts_of_a_crl_are_its_octets() -> None:
    content = SoftwareVault().root_crl
    taken = parts.taken_apart(content)
    crl = x509.load_der_x509_crl(content)
    assert bytes(taken.begin) == crl.tbs_certlist_bytes
    assert taken.frame().issuer == crl.issuer
    assert content.endswith(bytes(taken.tail) + bytes(taken.end))
    assert crl.next_update_utc is not None
    assert crl.next_update_utc.timestamp() == CREATED + 180 * DAY


def with_entries(rows: list[Row]) -> tuple[bytes, bytes, bytes]:
    """A CRL in three: before its entries, these, and what follows; as `cryptography` built it."""
    vault, entries = SoftwareVault(), encoded(rows)
    digest = hashlib.sha256(entries).digest()
    vault.held[digest] = entries
    whole = vault.crl(CrlRequest("ec1", 0, 7, CREATED, CREATED + DAY, (digest,) if rows else ()))
    before, found, after = whole.partition(entries) if rows else (whole, b"", b"")
    assert found == entries
    return before, entries, after


@pytest.mark.parametrize("count", [1, 2, 3, 8, 3000])
def test_a_crl_with_a_hole_for_its_entries_has_the_parts_of_the_whole(count: int, tmp_path: Path) -> None:
    rows = [(b"\x01" + n.to_bytes(16), CREATED - n, n % 2) for n in range(count)]
    before, entries, after = with_entries(rows)
    whole, hole = parts.taken_apart(before + entries + after), parts.taken_apart(before, len(entries), after)
    assert bytes(whole.entries) == entries
    assert bytes(hole.begin) + entries + bytes(hole.rest) == bytes(whole.begin)
    assert (hole.head, hole.tail, hole.end) == (whole.head, whole.tail, whole.end)
    path = tmp_path / "crl"
    path.write_bytes(before + entries + after)
    with path.open("rb") as file:
        read = parts.of_file(file)
    assert (read.head, read.tail, read.end) == (whole.head, whole.tail, whole.end)


def test_a_hole_that_is_not_what_the_lengths_say_is_refused() -> None:
    before, entries, after = with_entries(ALIKE)
    size = len(entries)
    parts.taken_apart(before, size, after)
    cuts = [(before, size + 1, after), (before, size - 1, after), (before[:-1], size, after)]
    cuts += [(before, size, after[1:]), (before, size, after + b"\x00"), (before, size, b"")]
    cuts += [(before + entries[:36], size - 36, after), (before, size - 36, entries[-36:] + after)]
    cuts += [(before + b"\x00", size - 1, after), (before + entries, 1, after[1:])]
    for cut in cuts:
        with pytest.raises((ValueError, IndexError)):
            parts.taken_apart(*cut).frame()
    for position in [*range(8), *range(len(before) - 4, len(before))]:  # the lengths of all that holds them
        changed = bytearray(before)
        changed[position] ^= 0x41
        with pytest.raises((ValueError, IndexError)):
            parts.taken_apart(bytes(changed), size, after)


@pytest.mark.parametrize("octets", [b"", b"\x30", b"\x30\x03\x30\x01\x00" * 30000], ids=len)
def test_a_file_that_is_no_crl_is_refused(octets: bytes, tmp_path: Path) -> None:
    path = tmp_path / "crl"
    path.write_bytes(octets)
    with path.open("rb") as file, pytest.raises((ValueError, IndexError)):
        parts.of_file(file)


def test_what_is_no_crl_is_refused_and_never_read_beyond_its_end() -> None:
    content = SoftwareVault().root_crl
    for octets in (b"", b"\x30", content[:-1], content + b"\x00", b"\x31" + content[1:], b"\x30\x80\x00\x00"):
        with pytest.raises((ValueError, IndexError)):
            parts.taken_apart(octets)
    for position in range(12):  # tags and lengths of the outer two
        changed = bytearray(content)
        changed[position] ^= 0x41
        with pytest.raises((ValueError, IndexError)):
            parts.taken_apart(bytes(changed)).frame()
