"""SCTs octet for octet; `cryptography` reads what we write, and we refuse what is not exactly one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.certificate_transparency import LogEntryType
from hypothesis import example, given
from hypothesis import strategies as st

from signer.ct import sct, tbs
from signer.ct.sct import Sct
from signer.vault.templates import leaf, precertificates
from tests.support.software_ca import NOW, leaf_request, profile, sign, software_ca

pytestmark = pytest.mark.clause("RFC 6962 section 3.2")

CA = software_ca()
POISONED = leaf.build_tbs(CA.issuer, replace(profile(), ct=True), leaf_request())

SCTS = st.builds(
    Sct,
    log_id=st.binary(min_size=32, max_size=32),
    timestamp=st.integers(0, 253402300799999),
    extensions=st.binary(max_size=300),
    hash=st.just(4),
    algorithm=st.sampled_from([1, 3]),
    signature=st.binary(max_size=600),
)


def in_a_certificate(encoded: list[bytes]) -> x509.Certificate:
    head, extensions = tbs.split(POISONED)
    value = leaf.der.octet_string(sct.encode_list(encoded))
    made = tbs.joined(head, [*extensions[:-1], leaf.der.extension(sct.SCT_LIST, value)])
    octets = leaf.assemble(made, CA.issuer.algorithm.identifier, sign(CA.key, made))
    return x509.load_der_x509_certificate(octets)


@given(st.lists(SCTS, min_size=1, max_size=4))
@example([Sct(b"\xff" * 32, 0, b"", 4, 3, b"")])
def test_cryptography_reads_every_sct_that_we_write(scts: list[Sct]) -> None:
    encoded = [sct.encode(each) for each in scts]
    extension = in_a_certificate(encoded).extensions.get_extension_for_class(
        x509.PrecertificateSignedCertificateTimestamps
    )
    for ours, theirs in zip(scts, extension.value, strict=True):
        assert theirs.log_id == ours.log_id
        since = theirs.timestamp.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        assert since // timedelta(milliseconds=1) == ours.timestamp
        assert theirs.entry_type is LogEntryType.PRE_CERTIFICATE
        assert theirs.extension_bytes == ours.extensions
        assert theirs.signature == ours.signature
        assert theirs.signature_hash_algorithm.name == "sha256"
        assert theirs.signature_algorithm.name == {1: "RSA", 3: "ECDSA"}[ours.algorithm]
    assert sct.decode_list(sct.encode_list(encoded)) == tuple(encoded)
    assert [sct.decode(each) for each in encoded] == scts


@given(st.binary(max_size=200))
def test_what_is_read_is_written_the_same_again(octets: bytes) -> None:
    try:
        found = sct.decode(octets)
    except ValueError:
        return
    assert sct.encode(found) == octets


@given(SCTS, st.data())
def test_no_octet_too_many_or_too_few(one: Sct, data: st.DataObject) -> None:
    octets = sct.encode(one)
    cut = data.draw(st.integers(0, len(octets) - 1))
    with pytest.raises(ValueError):
        sct.decode(octets[:cut])
    with pytest.raises(ValueError):
        sct.decode(octets + b"\x00")
    with pytest.raises(ValueError, match="version"):
        sct.decode(b"\x01" + octets[1:])
    with pytest.raises(ValueError):
        sct.decode_list(sct.encode_list([octets])[:-1])


@pytest.mark.parametrize("octets", [b"", b"\x00\x00", b"\x00\x02\x00", b"\x00\x02\x00\x05", b"\x00\x00\x00"])
def test_what_is_no_list_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError):
        sct.decode_list(octets)


@given(st.integers(0, (1 << 40) - 1))
@pytest.mark.clause("static-ct-api: SCT extension")
def test_the_leaf_index_is_found_behind_other_extensions(index: int) -> None:
    extension = b"\x00\x00\x05" + index.to_bytes(5)
    assert sct.leaf_index(extension) == index
    assert sct.leaf_index(b"\x07\x00\x01x" + extension) == index


@pytest.mark.parametrize(
    "octets", [b"", b"\x00\x00\x04abcd", b"\x01\x00\x05abcde", b"\x00\x00\x05abcd", b"\x00"]
)
def test_without_an_index_of_five_octets_there_is_none(octets: bytes) -> None:
    with pytest.raises(ValueError):
        sct.leaf_index(octets)


@pytest.mark.clause("RFC 6962 section 3.1")
def test_the_octets_that_logs_sign_are_those_that_cryptography_finds_in_the_certificate() -> None:
    signed = leaf.assemble(POISONED, CA.issuer.algorithm.identifier, sign(CA.key, POISONED))
    encoded = [sct.encode(Sct(bytes([log]) * 32, NOW * 1000, b"", 4, 3, b"s")) for log in range(2)]
    final = precertificates.final_tbs(signed, encoded)
    certificate = x509.load_der_x509_certificate(
        leaf.assemble(final, CA.issuer.algorithm.identifier, sign(CA.key, final))
    )
    assert tbs.unpoisoned(POISONED) == certificate.tbs_precertificate_bytes == tbs.without_scts(final)
    for each in (POISONED, final):
        assert tbs.joined(*tbs.split(each)) == each
    with pytest.raises(ValueError, match="just once"):
        tbs.unpoisoned(final)
    with pytest.raises(ValueError, match="just once"):
        tbs.without_scts(POISONED)
