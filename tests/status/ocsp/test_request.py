"""status/ocsp/request.py"""

from __future__ import annotations

import base64
import contextlib
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from core import der
from status.ocsp.request import MAX_OCTETS, MalformedRequest, of_path, parse


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
        parse(of_path(tail))


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_the_certid_is_read(algorithm: hashes.HashAlgorithm) -> None:
    asked = parse(built(algorithm=algorithm))
    assert asked.hash_name == algorithm.name
    assert len(asked.name_hash) == len(asked.key_hash) == algorithm.digest_size


@pytest.mark.parametrize(
    ("serial", "octets"),
    [(1, "01"), (0x7F, "7f"), (0x80, "0080"), (0x7FF, "07ff"), (2**159 - 1, "7f" + "ff" * 19)],
)
def test_the_serial_is_the_content_of_its_der_integer(serial: int, octets: str) -> None:
    assert parse(built(serial)).serial == bytes.fromhex(octets)


@pytest.mark.clause("RFC 9654 section 2.1")
@pytest.mark.parametrize("length", [1, 32, 128])
def test_a_nonce_changes_nothing(length: int) -> None:
    assert parse(built(nonce=bytes(length))) == parse(built())


@pytest.mark.parametrize("algorithm", [hashes.SHA384(), hashes.SHA512(), hashes.SHA224()])
def test_other_hashes_are_malformed(algorithm: hashes.HashAlgorithm) -> None:
    with pytest.raises(MalformedRequest, match="SHA-256 or SHA-1"):
        parse(built(algorithm=algorithm))


@pytest.mark.clause("RFC 9919 section 3.1.1")
def test_two_certificates_in_one_request_are_malformed() -> None:
    single = _request_of(DER)
    with pytest.raises(MalformedRequest, match="one certificate"):
        parse(der.sequence(der.sequence(der.sequence(single, single))))


@pytest.mark.clause("RFC 6960 section 4.4")
def test_a_critical_extension_that_is_not_understood_is_malformed() -> None:
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(bytes(32), bytes(32), 1, hashes.SHA256())
    unknown: Any = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    request = builder.add_extension(unknown, critical=True).build().public_bytes(Encoding.DER)
    with pytest.raises(MalformedRequest, match=r"1\.2\.3\.4"):
        parse(request)


def test_a_request_of_more_than_the_limit_is_malformed() -> None:
    with pytest.raises(MalformedRequest, match="octets"):
        parse(bytes(MAX_OCTETS + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_malformed(octets: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        parse(octets)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_damaged_request_is_a_request_or_malformed(position: int, octet: int) -> None:
    damaged = bytearray(DER)
    damaged[position] = octet
    with contextlib.suppress(MalformedRequest):
        parse(bytes(damaged))


@given(st.text(max_size=200))
def test_any_path_is_bytes_or_malformed(tail: str) -> None:
    with contextlib.suppress(MalformedRequest):
        of_path(tail)


def _request_of(octets: bytes) -> bytes:
    """The one Request: below OCSPRequest, TBSRequest and the request list."""
    for _ in range(3):
        octets = der.only(octets, der.SEQUENCE).content
    return octets
