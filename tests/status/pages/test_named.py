"""status/pages/named.py: what people name a certificate by."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st

from status.pages import named
from status.pages.published import Issuer
from tests.support.acme_client import ec_key


@pytest.mark.parametrize(
    ("text", "serials"),
    [
        ("0a:0B:0c", ["0a0b0c"]),
        ("0a-0b", ["0a0b"]),
        ("serial=0A0B", ["0a0b"]),
        ("Serial Number: ab0b", ["00ab0b"]),
        ("0xab", ["00ab"]),
        ("ab 0b 0c 0d 0e", ["00ab0b0c0d0e"]),
        ("12", ["12", "0c"]),
        ("1234567890" * 5, [(int("1234567890" * 5)).to_bytes(21, "big").hex()]),
        ("0", []),
        ("f" * 43, []),
    ],
)
def test_serial_numbers_are_read_as_tools_print_them(text: str, serials: list[str]) -> None:
    assert [each.hex() for each in named.read(text).serials] == serials


@pytest.mark.parametrize(
    "name", ["www.ca.example", "*.ca.example", "WWW.CA.Example.", "xn--r8jz45g.xn--zckzah"]
)
def test_domains_are_read(name: str) -> None:
    assert named.read(name).names == [name.lower().rstrip(".")]


@settings(deadline=timedelta(seconds=2))
@given(
    st.sampled_from(
        ["serial", "-----BEGIN A-----", "-----BEGIN ", "ab:", "ab ", "a.", "*.", "1", "a-", "serial="]
    ),
    st.sampled_from([" ", "a", "=", ":", "\n", "", "A"]),
)
def test_whatever_a_stranger_repeats_is_read_in_no_time(begin: str, again: str) -> None:
    for text in (begin + again * 60_000, begin * 6000 + again * 6000):
        named.read(text[:65_536])


@given(st.text(max_size=200), st.binary(max_size=200))
def test_nothing_that_a_stranger_writes_raises(text: str, file: bytes) -> None:
    named.read(text, file)


def certificate(*extensions: x509.ExtensionType) -> bytes:
    key, name = ec_key(), x509.Name([])
    at = datetime(2026, 11, 23, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 77, at, at + timedelta(days=1))
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_that_the_library_reads_and_does_not_like_is_unread() -> None:
    version = certificate().replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x19", 1)
    x400 = certificate(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00"))
    for der in (version, x400):
        assert not named.read("", der).any
        assert not named.read(b64encode(der).decode()).certificates


def test_a_signature_by_an_unknown_algorithm_is_none_of_ours() -> None:
    ours = certificate()
    sha256, unknown = bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d04037f")
    (other,) = named.read("", ours.replace(sha256, unknown)).certificates
    assert not Issuer("ec-1", ours).signed(other)
