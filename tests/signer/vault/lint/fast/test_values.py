"""lint/fast/values.py: what is made by hand is what pyasn1 and pkilint make."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pkilint import document
from pyasn1.type import univ, useful
from pyasn1_alt_modules import rfc5280
from pyasn1_fasder import decode_der

from core import der
from signer.vault.lint.fast import values

KINDS = {
    der.INTEGER: rfc5280.CertificateSerialNumber(),
    der.UTC_TIME: useful.UTCTime(),
    der.BIT_STRING: univ.BitString(),
    der.OCTET_STRING: univ.OctetString(),
    der.GENERALIZED_TIME: useful.GeneralizedTime(),
}
CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([b"\x00", b"\x00\x7f", b"\x00\x80", b"\xff\x80", b"\xff\x7f", b"\x01a", b"\x08a"]),
    st.from_regex(rb"\A[0-9]{12}Z\Z"),
)


def made(make: Any) -> object:
    try:
        value = make()
    except Exception as error:
        return type(error)
    # A number's repr does not tell that of a BIT STRING, which has a length.
    return type(value), value._value, vars(value)["_readOnly"], vars(value).keys(), _inner(value._value)


def _inner(value: Any) -> object:
    return type(value), getattr(value, "__dict__", None)


@given(tag=st.sampled_from(sorted(KINDS)), content=CONTENTS)
def test_a_value_is_the_one_that_the_decoder_makes(tag: int, content: bytes) -> None:
    octets, kind = der.tlv(tag, content), KINDS[tag]
    assert made(lambda: values.decoded(octets, kind)) == made(lambda: decode_der(octets, asn1Spec=kind)[0])


def test_a_dns_name_is_the_one_that_pyasn1_makes() -> None:
    schema = rfc5280.GeneralName.componentType["dNSName"].asn1Object
    assert made(lambda: values.dns_name(b"a.com")) == made(lambda: schema.clone("a.com"))


@pytest.mark.parametrize("value", [univ.OctetString(b"a"), univ.Integer(3)])
def test_a_node_is_the_one_that_pkilint_makes(value: Any) -> None:
    root = document.PDUNode(document.Document(univ.Any(), "", b""), "root", univ.Null(""), None)
    expected = vars(document.PDUNode(root.document, "part", value, root))
    assert vars(values.node(root, "part", value)) == expected
