"""finalize: which certificate signing requests are taken (RFC 8555 section 7.4; BR 6.1.1.3)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import Front

NAME = "www.example.com"
KEY = ec_key()
KEY_1024 = rsa.generate_private_key(65537, 1024)
CA_TRUE = x509.BasicConstraints(ca=True, path_length=None)
CERT_SIGN = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])
ANY_NAME = x509.NameConstraints(permitted_subtrees=[x509.DNSName("com")], excluded_subtrees=None)


def general_names(*names: x509.GeneralName) -> bytes:
    return csr(KEY, [], extensions=[x509.SubjectAlternativeName(names)])


def of_version_2() -> bytes:
    """PKCS#10 has version 0 alone."""
    der = bytearray(csr(KEY, [NAME]))
    at = der.index(b"\x02\x01\x00")
    der[at + 2] = 1
    return bytes(der)


def x400_address() -> bytes:
    """A subjectAltName with a name that our library does not read."""
    san = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00")
    return csr(KEY, [], extensions=[san])


def broken_signature() -> bytes:
    der = bytearray(csr(KEY, [NAME]))
    der[-1] ^= 1
    return bytes(der)


def ed25519_request() -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    request = builder.sign(ed25519.Ed25519PrivateKey.generate(), None)
    return request.public_bytes(serialization.Encoding.DER)


def weak_hash() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    request = builder.sign(rsa.generate_private_key(65537, 2048), hashes.SHA224())
    return request.public_bytes(serialization.Encoding.DER)


BAD_REQUESTS: dict[str, bytes] = {
    "nothing": b"",
    "noise": b"\x30\x03\x02\x01\x00",
    "PEM": b"-----BEGIN CERTIFICATE REQUEST-----",
    "octets after its end": csr(KEY, [NAME]) + b"\x00",
    "another version": of_version_2(),
    "a kind of name that nobody reads": general_names(
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")
    ),
    "an X.400 address": x400_address(),
    "no names": csr(KEY, []),
    "another name": csr(KEY, ["other.example.com"]),
    "a name too many": csr(KEY, [NAME, "other.example.com"]),
    "a common name that was not ordered": csr(KEY, [NAME], common_name="other.example.com"),
    "a wildcard": csr(KEY, ["*.example.com"]),
    "an address": general_names(x509.DNSName(NAME), x509.RFC822Name("a@example.com")),
    "CA:TRUE": csr(KEY, [NAME], extensions=[CA_TRUE]),
    "keyCertSign": csr(KEY, [NAME], extensions=[CERT_SIGN]),
    "name constraints": csr(KEY, [NAME], extensions=[ANY_NAME]),
    "must-staple": csr(KEY, [NAME], extensions=[MUST_STAPLE]),
    "a broken signature": broken_signature(),
    "a short key": csr(KEY_1024, [NAME]),
    "a curve that we do not certify": csr(ec.generate_private_key(ec.SECP256K1()), [NAME]),  # type: ignore[arg-type]
    "Ed25519": ed25519_request(),
    "SHA-224": weak_hash(),
}


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must(
    "rfc8555.7.4.csr", "rfc8555.7.4.same-identifiers", "rfc8555.7.4.bad-csr", "rfc8555.7.4.stays-ready"
)
@pytest.mark.parametrize("request_der", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
async def test_a_bad_csr_is_refused_and_leaves_the_order_ready(
    front: Front, subscriber: AcmeClient, request_der: bytes
) -> None:
    order = await front.authorized(subscriber, NAME)
    before = front.counts()
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(request_der)})
    assert (answer.status, answer.problem) == (400, "badCSR")
    assert len(answer.body["detail"]) > 30
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "ready"
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 11.1")
@pytest.mark.must("rfc8555.11.1.no-account-key", "rfc8555.11.1.any-account", "rfc8555.11.1.own-account")
async def test_no_account_key_is_certified_whoever_owns_it(front: Front, subscriber: AcmeClient) -> None:
    other = await front.subscriber()
    order = await front.authorized(subscriber, NAME)
    for key in (subscriber.key, other.key):
        answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, [NAME]))})
        assert (answer.status, answer.problem) == (400, "badCSR")
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "ready"


@pytest.mark.clause("RFC 8555 section 11.1")
@pytest.mark.must("rfc8555.11.1.no-account-key")
async def test_a_key_that_becomes_an_accounts_while_its_order_waits_is_not_certified(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    key = ec_key()
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, [NAME]))})
    await front.subscriber(key)
    await front.run_jobs()
    ended = await subscriber.post(order.headers["Location"])
    assert ended.body["status"] == "invalid"
    assert ended.body["error"]["type"].endswith("badCSR")
    assert front.issuance.approved == []


@pytest.mark.clause("RFC 8555 section 7.4")
async def test_names_of_a_csr_are_compared_without_case_and_harmless_extensions_are_left_aside(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    request = csr(KEY, ["WWW.example.COM"], common_name="Www.Example.Com", extensions=[usage])
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(request)})
    assert answer.status == 200
    await front.run_jobs()
    assert front.issuance.approved[0].names == (NAME,)


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.must("rfc8555.7.4.cn-or-san")
@pytest.mark.parametrize("where", ["the common name", "the subject alternative name", "both"])
async def test_a_name_may_stand_in_either_part_of_a_csr(
    front: Front, subscriber: AcmeClient, where: str
) -> None:
    order = await front.authorized(subscriber, NAME)
    names = [] if where == "the common name" else [NAME]
    common_name = None if where == "the subject alternative name" else NAME
    answer = await subscriber.post(
        order.body["finalize"], {"csr": b64(csr(KEY, names, common_name=common_name))}
    )
    assert (answer.status, answer.body["status"]) == (200, "processing")
