"""acme_server/cert_id.py: the one spelling of a certificate's name."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server import cert_id
from acme_server.cert_id import CertId
from core.errors import Problem

VECTOR = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
"""RFC 9773 section 4.1."""

KEY_ID = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
SERIAL = bytes.fromhex("0087654321")

BENT = {
    "nothing": "",
    "a dot": ".",
    "no dot": VECTOR.replace(".", ""),
    "two dots": VECTOR + ".",
    "a third part": VECTOR + ".AQ",
    "no key identifier": ".AIdlQyE",
    "no serial": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.",
    "padding of the key identifier": "aYhba4dGQEHhs3uEe6CuLN4ByNQ=.AIdlQyE",
    "padding of the serial": VECTOR + "=",
    "bits that nothing stands in": "aYhba4dGQEHhs3uEe6CuLN4ByNR.AIdlQyE",
    "bits that nothing stands in, of the serial": VECTOR[:-1] + "F",
    "base64 without url": "aYhba4dGQEHhs3uEe6C+LN4ByNQ.AIdlQyE",
    "a slash": "aYhba4dGQEHhs3uEe6C/LN4ByNQ.AIdlQyE",
    "a blank": VECTOR + " ",
    "a blank in front": " " + VECTOR,
    "a line": VECTOR + "\n",
    "an escape": VECTOR.replace(".", "%2E"),
    "one character of base64": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.A",
    "no ASCII": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.ÀIdlQyE",
    "no leading zero, so negative": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.h2VDIQ",
    "two leading zeros": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AACHZUMh",
    "a leading zero that is none": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AAE",
    "zero": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AA",
    "21 octets of serial": "aYhba4dGQEHhs3uEe6CuLN4ByNQ." + "AQEB" * 7,
    "65 octets of key identifier": "AQEB" * 21 + "AQE.AIdlQyE",
    "hexadecimal": "69:88:5B.00:87",
    "a mile": "A" * 5000 + ".AIdlQyE",
}


@pytest.mark.must("rfc9773.4.1.identifier")
@pytest.mark.clause("RFC 9773 section 4.1")
@pytest.mark.must("rfc9773.4.1.identifier")
def test_the_vector_of_the_rfc() -> None:
    assert cert_id.read(VECTOR) == CertId(KEY_ID, SERIAL)
    assert str(CertId(KEY_ID, SERIAL)) == VECTOR


@pytest.mark.must("rfc9773.4.1.unpadded")
@pytest.mark.clause("RFC 9773 section 4.1")
@pytest.mark.must("rfc9773.4.1.unpadded")
@pytest.mark.parametrize("text", BENT.values(), ids=BENT.keys())
def test_any_other_spelling_is_malformed(text: str) -> None:
    with pytest.raises(Problem) as refused:
        cert_id.read(text)
    assert (refused.value.type, refused.value.status) == ("malformed", 400)
    assert "RFC 9773" in refused.value.detail


@given(st.binary(min_size=1, max_size=64), st.integers(min_value=1, max_value=(1 << 159) - 1))
def test_what_we_write_is_read_again(key_id: bytes, number: int) -> None:
    named = CertId(key_id, number.to_bytes(number.bit_length() // 8 + 1, "big"))
    assert cert_id.read(str(named)) == named


@given(st.text(alphabet="AQgwz09-_.=+/% \n", max_size=40) | st.text(max_size=40))
def test_what_is_read_has_one_spelling(text: str) -> None:
    try:
        found = cert_id.read(text)
    except Problem:
        return
    assert str(found) == text


@given(st.integers(min_value=0, max_value=len(VECTOR) - 1), st.characters(codec="ascii"))
def test_no_other_character_gives_the_same_certificate(position: int, character: str) -> None:
    bent = VECTOR[:position] + character + VECTOR[position + 1 :]
    try:
        found = cert_id.read(bent)
    except Problem:
        return
    assert (found == CertId(KEY_ID, SERIAL)) == (bent == VECTOR)


def test_the_longest_is_read() -> None:
    longest = CertId(b"\xff" * 64, b"\x7f" * 20)
    assert cert_id.read(str(longest)) == longest
    assert base64.urlsafe_b64encode(b"\xff" * 64).rstrip(b"=").decode() in str(longest)
