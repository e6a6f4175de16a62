"""vault/lint/crl_blocks.py: it passes what the rules allow, octet for octet, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from core import der
from core.errors import Refused
from signer.api import CrlEntry
from signer.vault.lint import crl_check
from signer.vault.lint.crl_blocks import MAX_BLOCK, judged
from signer.vault.templates import crl
from status.crl import parts
from status.crl.entries import encoded
from tests.signer.vault.lint.test_crl_check import SERIALS, YEAR_2050, wanted
from tests.support.software_ca import NOW, software_ca

Row = tuple[bytes, int, int]
ROWS = st.lists(
    st.tuples(
        SERIALS,
        st.one_of(st.integers(NOW - 10**8, NOW), st.integers(-631152000, YEAR_2050 + 10**9)),
        st.sampled_from([0, 1, 3, 4, 5, 9]),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[0],
).map(sorted)


def by_the_template(rows: list[Row]) -> bytes:
    """The same entries as the vault's own template writes them into a root's CRL."""
    latest = max(revoked_at for _, revoked_at, _ in rows)
    listed = [CrlEntry(*row) for row in rows]
    asked = wanted(*listed, this_update=latest, next_update=latest + 1)
    tbs = crl.build_tbs(asked.issuer, asked.number, latest, latest + 1, listed, None)
    crl_check.check(tbs, asked)
    return list(der.elements(der.only(tbs, der.SEQUENCE).content))[5].content


@pytest.mark.clause("RFC 5280 section 5.1.2.6")
@pytest.mark.clause("RFC 5280 section 5.3.1")
@settings(deadline=None)
@given(rows=ROWS)
def test_what_the_app_encodes_is_what_the_template_writes_and_passes(rows: list[Row]) -> None:
    octets = encoded(rows)
    assert octets == by_the_template(rows)
    block = judged(octets)
    assert (block.octets, block.count) == (octets, len(rows))
    assert (block.first, block.last) == (rows[0][0], rows[-1][0])
    assert block.latest == max(revoked_at for _, revoked_at, _ in rows)
    for (length, tag, code), specimen in block.specimens:
        assert (specimen.serial, specimen.revoked_at, specimen.reason or 0) in rows
        assert (len(specimen.serial), specimen.reason or 0) == (length, code)
        assert (tag == der.GENERALIZED_TIME) == (specimen.revoked_at >= YEAR_2050)
    shapes = {(len(serial), at >= YEAR_2050, reason) for serial, at, reason in rows}
    assert len(block.specimens) == len(shapes)


def may_stand(octets: bytes) -> bool:
    """Whether these are entries that may stand in a block, as far as `cryptography` can tell.

    It reads them in the frame of some CRL, and its builder must write the same octets again.
    """
    tbs, *end = der.elements(der.only(FRAME, der.SEQUENCE).content)
    *head, tail = (field.encoding for field in der.elements(tbs.content))
    listed = der.sequence(*head, der.sequence(octets), tail)
    try:
        read = list(x509.load_der_x509_crl(der.sequence(listed, *(each.encoding for each in end))))
        builder = EMPTY
        for entry in read:
            one = x509.RevokedCertificateBuilder(entry.serial_number, entry.revocation_date_utc)
            for extension in entry.extensions:
                if extension.value not in ALLOWED:
                    return False
                one = one.add_extension(extension.value, critical=False)
            builder = builder.add_revoked_certificate(one.build())
        again = builder.sign(KEY, hashes.SHA256()).tbs_certlist_bytes
    except ValueError:
        return False
    serials = [der.integer(entry.serial_number)[2:] for entry in read]
    return again == listed and serials == sorted(set(serials))


KEY = software_ca("ec-p256").key
EMPTY = (
    x509.CertificateRevocationListBuilder()
    .issuer_name(x509.Name([]))
    .last_update(datetime.fromtimestamp(NOW, UTC))
    .next_update(datetime.fromtimestamp(NOW + 1, UTC))
    .add_extension(x509.CRLNumber(1), critical=False)
)
FRAME = EMPTY.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)
ALLOWED = [x509.CRLReason(crl_check.REASONS[code]) for code in (1, 3, 4, 5, 9)]


@st.composite
def blocks_with_a_fault(draw: st.DrawFn) -> bytes:
    """Entries of which one thing was changed; some are right all the same."""
    rows = draw(ROWS)
    each = [encoded([row]) for row in rows]
    at = draw(st.integers(0, len(each) - 1))
    to = draw(st.integers(0, len(each) - 1))
    kind = draw(
        st.sampled_from(["none", "swapped", "twice", "serial", "reason", "time", "octet", "more", "less"])
    )
    entry = bytearray(each[at])
    if kind == "swapped":
        each[at], each[to] = each[to], each[at]
    elif kind == "twice":
        each.insert(to, each[at])
    elif kind == "serial":
        each[at] = encoded([(rows[to][0], *rows[at][1:])])
    elif kind == "reason":
        with_reason = bytearray(encoded([(*rows[at][:2], 1)]))
        with_reason[-1] = draw(st.integers(0, 12))
        each[at] = bytes(with_reason)
    elif kind == "time":
        position = entry.index(b"Z", 4 + entry[3]) - 2 * draw(st.integers(1, 6))
        entry[position : position + 2] = draw(
            st.sampled_from([b"00", b"12", b"13", b"23", b"24", b"29", b"30", b"31", b"32", b"60", b" 1"])
        )
        each[at] = bytes(entry)
    elif kind == "octet":
        entry[draw(st.integers(0, len(entry) - 1))] = draw(st.integers(0, 255))
        each[at] = bytes(entry)
    elif kind == "more":
        each[at] += draw(st.binary(min_size=1, max_size=3))
    elif kind == "less":
        each[at] = each[at][: draw(st.integers(0, len(entry) - 1))]
    return b"".join(each)


@pytest.mark.clause("BR 7.2.2")
@pytest.mark.clause("RFC 5280 section 5.3.1")
@settings(deadline=None, max_examples=400)
@given(octets=blocks_with_a_fault().filter(len))
def test_what_passes_is_what_cryptography_would_have_written_too_and_nothing_else(octets: bytes) -> None:
    try:
        passed = judged(octets).octets == octets
    except Refused:
        passed = False
    assert passed == may_stand(octets)


SOME = encoded(
    [(b"\x00\x80", NOW, 1), (b"\x01", NOW - 5, 0), (b"\x02" * 16, NOW, 4), (b"\x7f" * 20, NOW - 10**7, 9)]
)


@pytest.mark.clause("BR 7.2.2")
def test_an_octet_changed_left_out_or_added_is_refused_unless_it_is_another_entry_that_may_stand() -> None:
    passed = 0
    for position in range(len(SOME)):
        rest = SOME[position + 1 :]
        changes = [SOME[:position] + bytes([octet]) + rest for octet in range(256)]
        changes += [SOME[:position] + rest, SOME[:position] + b"\x00" + SOME[position:]]
        for changed in changes:
            try:
                judged(changed)
            except Refused:
                continue
            # What passed is what our own writer would have written about what `parts` reads there.
            rows = list(parts.said(changed))
            assert encoded(rows) == changed
            assert [row[0] for row in rows] == sorted({row[0] for row in rows})
            passed += 1
    assert passed > 1000  # other serial numbers, times and reasons


@pytest.mark.clause("BR 7.2.2")
@pytest.mark.clause("requirements 2.58")
@pytest.mark.parametrize("reason", range(12))
def test_the_reasons_of_the_table_pass_and_no_others(reason: int) -> None:
    good = encoded([(b"\x01" * 17, NOW, 1)])
    octets = good[:-1] + bytes([reason])
    if reason in (1, 3, 4, 5, 9):
        assert judged(octets).specimens[0][1].reason == reason
        return
    # 0 is said by leaving it out; 2, 7, 8, 10 are not in the table; 6 (certificateHold) never.
    with pytest.raises(Refused, match=r"crl-lint\.entry"):
        judged(octets)


@pytest.mark.parametrize(
    ("code", "octets"),
    [
        ("block", b""),
        ("block", bytes(MAX_BLOCK + 1)),
        ("serial", encoded([(b"\x02", NOW, 0), (b"\x01", NOW, 0)])),
        ("serial", encoded([(b"\x01", NOW, 0), (b"\x01", NOW, 1)])),
        ("entry", encoded([(b"\x00", NOW, 0)])),
        ("entry", encoded([(b"\x80", NOW, 0)])),
        ("entry", encoded([(b"\x00\x7f", NOW, 0)])),
        ("entry", encoded([(b"\x01" * 21, NOW, 0)])),
        ("entry", encoded([(b"\x01", NOW, 0)])[:-1]),
        ("entry", encoded([(b"\x01", NOW, 0)]).replace(b"Z", b"+")),
        ("revoked-at", encoded([(b"\x01", NOW, 0)]).replace(b"\x17\x0d2611", b"\x17\x0d2613")),
        (
            "revoked-at",
            encoded([(b"\x01", YEAR_2050, 0)]).replace(b"\x18\x0f2050", b"\x18\x0f2049"),
        ),
    ],
)
def test_what_is_refused_says_why(code: str, octets: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        judged(octets)
    assert refusal.value.code == f"crl-lint.{code}"
