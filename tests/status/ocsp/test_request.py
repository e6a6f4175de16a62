"""status/ocsp/request.py"""

from __future__ import annotations

import base64
import contextlib
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from core import der
from status.ocsp.request import MAX_ASKED, MAX_OCTETS, MalformedRequest, of_path, read


def built(
    serial: int = 0x7FF, algorithm: hashes.HashAlgorithm | None = None, nonce: bytes | None = None
) -> bytes:
    algorithm = algorithm or hashes.SHA256()
    name_hash, key_hash = (
        b"\xfb\xff" * (algorithm.digest_size // 2),
        b"\x3e\x3f" * (algorithm.digest_size // 2),
    )
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name_hash, key_hash, serial, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


DER = built()
BASE64 = base64.b64encode(DER).decode()
assert "/" in BASE64
assert "+" in BASE64
HASHES_OF_BOTH = [hashes.SHA1(), hashes.SHA256(), hashes.SHA512()]


@pytest.mark.must("rfc6960.A.1.get")
@pytest.mark.clause("RFC 6960 appendix A.1")
@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(quote(BASE64, safe=""), id="everything escaped"),
        pytest.param(BASE64, id="nothing escaped"),
        pytest.param(quote(BASE64, safe="/"), id="slashes left"),
        pytest.param(quote(BASE64, safe="+"), id="plus left"),
        pytest.param(quote(BASE64, safe="="), id="padding left"),
        pytest.param(BASE64.rstrip("="), id="no padding"),
        pytest.param("/" + BASE64, id="base URL that ends in a slash"),
        pytest.param("//" + quote(BASE64, safe=""), id="two slashes more"),
        pytest.param(BASE64.replace("+", " "), id="plus turned into a blank"),
        pytest.param(BASE64.replace("+", "%20"), id="plus turned into an escaped blank"),
        pytest.param(
            quote(BASE64, safe="").replace("%2F", "%2f").replace("%2B", "%2b"), id="small hex digits"
        ),
    ],
)
def test_a_get_is_understood_however_it_is_escaped(tail: str) -> None:
    assert of_path(tail) == DER


@pytest.mark.parametrize("tail", ["!!!!", "MEUw%FF", "M", "MEUw\u3042", "%", "A" * (MAX_OCTETS * 4 + 1)])
def test_a_get_of_something_else_is_malformed(tail: str) -> None:
    with pytest.raises(MalformedRequest):
        read(of_path(tail))


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_the_certid_is_read(algorithm: hashes.HashAlgorithm) -> None:
    [asked] = read(built(algorithm=algorithm))
    assert asked.hash_name == algorithm.name
    assert len(asked.name_hash) == len(asked.key_hash) == algorithm.digest_size


@pytest.mark.parametrize(
    ("serial", "octets"),
    [(1, "01"), (0x7F, "7f"), (0x80, "0080"), (0x7FF, "07ff"), (2**159 - 1, "7f" + "ff" * 19)],
)
def test_the_serial_is_the_content_of_its_der_integer(serial: int, octets: str) -> None:
    assert read(built(serial))[0].serial == bytes.fromhex(octets)


@pytest.mark.must("rfc9919.3.2.1.most-complete")
@pytest.mark.clause("RFC 9654 section 2.1")
@pytest.mark.parametrize("length", [1, 32, 128])
def test_a_nonce_changes_nothing(length: int) -> None:
    assert read(built(nonce=bytes(length))) == read(built())


@pytest.mark.parametrize("algorithm", [hashes.SHA384(), hashes.SHA512(), hashes.SHA224()])
def test_another_hash_names_no_issuer_of_ours(algorithm: hashes.HashAlgorithm) -> None:
    [asked] = read(built(algorithm=algorithm))
    assert asked.hash_name == ""


@pytest.mark.clause("RFC 5754 section 2")
@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_parameters_that_are_absent_mean_the_same_as_null(algorithm: hashes.HashAlgorithm) -> None:
    request = built(algorithm=algorithm)
    assert without_null(request) != request
    assert read(without_null(request)) == read(request)


@pytest.mark.must("rfc6960.4.1.1.several")
@pytest.mark.clause("RFC 6960 section 4.1.1")
def test_several_certificates_are_read_in_their_order() -> None:
    requests = [built(serial, algorithm) for serial in (5, 0x80) for algorithm in (None, hashes.SHA1())]
    assert read(joined(*requests)) == tuple(read(each)[0] for each in requests)


def test_a_request_for_nothing_or_for_too_many_is_malformed() -> None:
    with pytest.raises(MalformedRequest, match="no certificate"):
        read(joined())
    with pytest.raises(MalformedRequest, match="more than"):
        read(joined(*[built(algorithm=hashes.SHA1())] * (MAX_ASKED + 1)))


@pytest.mark.must("rfc9919.3.1.2.requestor-name")
@pytest.mark.clause("RFC 9919 section 3.1.2")
def test_a_requestors_name_and_a_signature_are_ignored() -> None:
    name = der.explicit(1, der.tlv(0x82, b"client.example"))
    assert read(wrapped(DER, before=name)) == read(DER)
    signature = der.sequence(der.algorithm("1.2.840.10045.4.3.2"), der.bit_string(bytes(70)))
    assert read(wrapped(DER, before=name, signature=der.explicit(0, signature))) == read(DER)


@pytest.mark.parametrize(
    "changed",
    [
        lambda: wrapped(DER, before=der.explicit(0, der.integer(0))),  # DER leaves the default version out
        lambda: wrapped(DER, before=der.explicit(1, b"") * 2),
        lambda: wrapped(DER, before=der.explicit(3, der.NULL)),
        lambda: wrapped(DER, signature=der.explicit(1, der.sequence())),
        lambda: wrapped(DER, after=der.explicit(2, der.sequence())),
        lambda: DER + b"\0",
        lambda: DER.replace(bytes.fromhex("020207ff"), bytes.fromhex("020200ff"))[:-1] + b"\x7f",
    ],
)
def test_what_is_no_der_of_a_request_is_malformed(changed: Any) -> None:
    with pytest.raises(MalformedRequest):
        read(changed())


@pytest.mark.clause("RFC 6960 section 4.4")
def test_a_critical_extension_that_is_not_understood_is_malformed() -> None:
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(bytes(32), bytes(32), 1, hashes.SHA256())
    unknown: Any = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    request = builder.add_extension(unknown, critical=True).build().public_bytes(Encoding.DER)
    with pytest.raises(MalformedRequest, match="critical extension 2a0304"):
        read(request)


@pytest.mark.must("rfc6960.4.1.2.ignored")
@pytest.mark.clause("RFC 6960 section 4.1.2")
def test_an_extension_that_is_not_understood_and_not_critical_is_ignored() -> None:
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(bytes(32), bytes(32), 1, hashes.SHA256())
    unknown: Any = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    request = builder.add_extension(unknown, critical=False).build().public_bytes(Encoding.DER)
    assert read(request) == read(builder.build().public_bytes(Encoding.DER))


def test_a_request_of_more_than_the_limit_is_malformed() -> None:
    with pytest.raises(MalformedRequest, match="octets"):
        read(bytes(MAX_OCTETS + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_malformed(octets: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        read(octets)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_damaged_request_is_a_request_or_malformed(position: int, octet: int) -> None:
    damaged = bytearray(DER)
    damaged[position] = octet
    with contextlib.suppress(MalformedRequest):
        read(bytes(damaged))


@given(st.text(max_size=200))
def test_any_path_is_bytes_or_malformed(tail: str) -> None:
    with contextlib.suppress(MalformedRequest):
        of_path(tail)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_of_a_changed_request_no_more_is_read_than_cryptography_reads(data: st.DataObject) -> None:
    octets = bytearray(built(data.draw(st.integers(1, 2**159)), data.draw(st.sampled_from(HASHES_OF_BOTH))))
    for _ in range(data.draw(st.integers(0, 2))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    ours: Any = None
    with contextlib.suppress(MalformedRequest):
        ours = read(bytes(octets))
    try:
        theirs = ocsp.load_der_ocsp_request(bytes(octets))
        name = theirs.hash_algorithm.name
    except (ValueError, UnsupportedAlgorithm):
        assert ours is None or ours[0].hash_name == ""
        return
    number = theirs.serial_number
    content = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    assert [each.oid for each in theirs.extensions if each.critical] or ours is not None
    if ours is not None:
        assert ours[0][1:] == (theirs.issuer_name_hash, theirs.issuer_key_hash, content)
        assert ours[0].hash_name in (name, "")


def without_null(request: bytes) -> bytes:
    """The CertID's algorithm without its parameters; five SEQUENCEs around it shrink."""
    start = request.index(b"\x05\x00", 10)
    octets = bytearray(request[:start] + request[start + 2 :])
    for at in (1, 3, 5, 7, 9, 11):
        octets[at] -= 2
    return bytes(octets)


def joined(*requests: bytes) -> bytes:
    """One request about all of them."""
    parts = []
    for each in requests:
        for _ in range(3):
            each = der.only(each, der.SEQUENCE).content
        parts.append(each)
    return der.sequence(der.sequence(der.sequence(*parts)))


def wrapped(request: bytes, *, before: bytes = b"", after: bytes = b"", signature: bytes = b"") -> bytes:
    """The request with more fields around its list."""
    requests = der.only(der.only(request, der.SEQUENCE).content, der.SEQUENCE).content
    return der.sequence(der.sequence(before, requests, after), signature)
