"""acme_server/jws.py: one spelling of a request, and no other."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from acme_server import jws
from core.errors import Problem
from tests.support.acme_client import algorithm, b64, ec_key, jwk, sign, thumbprint

DEPTH = 16
KEY = ec_key()
RSA = rsa.generate_private_key(65537, 2048)


def protected(key: Any = KEY, **changes: Any) -> dict[str, Any]:
    header = {"alg": algorithm(key), "nonce": "bm9uY2U", "url": "https://ca/x", "jwk": jwk(key)} | changes
    return {name: value for name, value in header.items() if value is not None}


def encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


def refused(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        jws.parse(body, DEPTH)
    return caught.value


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must("rfc8555.6.2.es256")
@pytest.mark.parametrize("key", [KEY, ec_key(ec.SECP384R1()), ec_key(ec.SECP521R1()), RSA])
def test_a_well_formed_request_is_read_and_verified(key: Any) -> None:
    signed = jws.parse(encoded(sign(key, protected(key), b'{"a":1}')), DEPTH)

    assert signed.jwk is not None
    found = jws.public_key(signed.jwk)
    jws.verify(signed, found)
    assert signed.payload == b'{"a":1}'
    assert found.thumbprint == thumbprint(key)
    assert (signed.url, signed.nonce, signed.kid) == ("https://ca/x", "bm9uY2U", None)


@pytest.mark.clause("RFC 7638 section 3.1")
@pytest.mark.must("rfc8555.8.1.key-authorization")
def test_the_thumbprint_of_the_rfc_is_found() -> None:
    key = {
        "kty": "RSA",
        "n": (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi"
            "FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgn"
            "Yb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqb"
            "w0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        ),
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert jws.public_key(key).thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


BENT_BODIES: dict[str, bytes] = {
    "no JSON": b"{",
    "not UTF-8": b'{"protected":"\xff"}',
    "UTF-16": json.dumps(sign(KEY, protected(), b"")).encode("utf-16"),
    "a number": b"1",
    "an array": b"[]",
    "NaN": b'{"protected":NaN,"payload":"","signature":""}',
    "a long number": b'{"protected":' + b"9" * 5000 + b',"payload":"","signature":""}',
    "a lone surrogate": b'{"protected":"\\ud800","payload":"","signature":""}',
    "a duplicate member": encoded(sign(KEY, protected(), b""))[:-1] + b',"payload":""}',
    "a missing member": encoded({"protected": "", "payload": ""}),
    "a surplus member": encoded(sign(KEY, protected(), b"") | {"extra": 1}),
    "a detached payload": encoded(
        {"protected": b64(json.dumps(protected()).encode()), "signature": b64(b"x" * 64)}
    ),
    "a payload that is null": encoded(sign(KEY, protected(), b"") | {"payload": None}),
    "an unprotected header": encoded(sign(KEY, protected(), b"") | {"header": {}}),
    "several signatures": encoded({"payload": "", "signatures": [{"protected": "", "signature": ""}]}),
    "a protected header that is an array": encoded({"protected": b64(b"[]"), "payload": "", "signature": ""}),
    "members that are no strings": encoded({"protected": {}, "payload": 1, "signature": None}),
    "deep nesting": b"[" * 60000,
    "nesting beyond the bound": b'{"a":' * 17 + b"1" + b"}" * 17,
}


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must(
    "rfc8555.5.utf-8",
    "rfc8555.6.2.flattened",
    "rfc8555.6.2.one-signature",
    "rfc8555.6.2.no-unprotected-header",
    "rfc8555.6.2.not-detached",
)
@pytest.mark.parametrize("body", BENT_BODIES.values(), ids=BENT_BODIES.keys())
def test_a_body_that_is_no_flattened_jws_is_malformed(body: bytes) -> None:
    assert refused(body).type == "malformed"


@pytest.mark.clause("RFC 8555 section 6.4.1")
@pytest.mark.must("rfc8555.6.4.1.protected", "rfc8555.6.5.2.protected", "rfc8555.6.2.protected-members")
@pytest.mark.parametrize("name", ["alg", "url", "nonce", "jwk"])
def test_what_is_not_in_the_protected_header_is_not_read_from_elsewhere(name: str) -> None:
    kept = {key: value for key, value in protected().items() if key != name}
    moved = sign(KEY, kept, b"") | {"header": {name: protected()[name]}}
    assert "Unprotected" in refused(encoded(moved)).detail


BENT_HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "no alg": ({"alg": None}, "badSignatureAlgorithm"),
    "none": ({"alg": "none"}, "badSignatureAlgorithm"),
    "a MAC": ({"alg": "HS256"}, "badSignatureAlgorithm"),
    "an unknown algorithm": ({"alg": "ES256K"}, "badSignatureAlgorithm"),
    "an algorithm that is no string": ({"alg": ["ES256"]}, "badSignatureAlgorithm"),
    "neither jwk nor kid": ({"jwk": None}, "malformed"),
    "both jwk and kid": ({"kid": "https://ca/acme/account/1"}, "malformed"),
    "a jwk that is a string": ({"jwk": "x"}, "malformed"),
    "a kid that is a number": ({"jwk": None, "kid": 1}, "malformed"),
    "crit": ({"crit": ["exp"]}, "malformed"),
    "b64": ({"b64": False}, "malformed"),
    "no url": ({"url": None}, "malformed"),
    "a url that is a list": ({"url": ["https://ca/x"]}, "malformed"),
    "a nonce with padding": ({"nonce": "bm9uY2U="}, "malformed"),
    "a nonce that is a number": ({"nonce": 1}, "malformed"),
}


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must(
    "rfc8555.6.2.encoded-payload",
    "rfc8555.6.2.protected-members",
    "rfc8555.6.2.alg",
    "rfc8555.6.2.one-key",
    "rfc8555.6.4.1.string",
    "rfc8555.6.5.2.base64url",
    "rfc8555.6.5.2.malformed",
)
@pytest.mark.parametrize(("changes", "kind"), BENT_HEADERS.values(), ids=BENT_HEADERS.keys())
def test_a_bent_protected_header_is_refused(changes: dict[str, Any], kind: str) -> None:
    assert refused(encoded(sign(KEY, protected(**changes), b""))).type == kind


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must("rfc8555.6.2.algorithms")
def test_a_refused_algorithm_comes_with_the_list_of_those_that_are_accepted() -> None:
    problem = refused(encoded(sign(KEY, protected(alg="HS256"), b"")))
    assert problem.extra["algorithms"] == ["RS256", "ES256", "ES384", "ES512"]


def test_a_protected_header_with_a_member_twice_is_refused() -> None:
    head = b64(b'{"alg":"ES256","alg":"ES256"}')
    assert "twice" in refused(encoded({"protected": head, "payload": "", "signature": ""})).detail


@pytest.mark.clause("RFC 8555 section 6.1")
@pytest.mark.must("rfc8555.6.1.padding")
@pytest.mark.parametrize("text", ["YQ==", "YR", "Y", "YQ\n", " YQ", "Y+/h", "ＹＱ", "Y\x00"])
def test_base64url_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="base64url"):
        jws.decode_base64url(text, "x")


@pytest.mark.clause("RFC 7515 section 2")
@given(st.binary(max_size=100))
def test_base64url_has_one_spelling_for_each_octet_string(octets: bytes) -> None:
    assert jws.decode_base64url(jws.encode_base64url(octets), "x") == octets


@pytest.mark.clause("RFC 7515 section 2")
@given(st.text(max_size=12))
def test_any_text_is_refused_or_is_the_only_spelling(text: str) -> None:
    with contextlib.suppress(Problem):
        assert jws.encode_base64url(jws.decode_base64url(text, "x")) == text


@given(st.binary(max_size=300))
def test_any_octets_are_refused_with_a_problem(octets: bytes) -> None:
    assert refused(octets).type == "malformed"


JWK_EC, JWK_RSA = jwk(KEY), jwk(RSA)
BENT_KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "a private key": (JWK_EC | {"d": "AAAA"}, "malformed"),
    "a symmetric key": ({"kty": "oct", "k": "AAAA"}, "malformed"),
    "no kty": ({}, "badPublicKey"),
    "a kty that is a list": ({"kty": []}, "badPublicKey"),
    "an unknown kty": ({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "badPublicKey"),
    "an unknown curve": (JWK_EC | {"crv": "secp256k1"}, "badPublicKey"),
    "a point off the curve": (JWK_EC | {"x": JWK_EC["y"]}, "badPublicKey"),
    "a coordinate that is a number": (JWK_EC | {"x": 7}, "badPublicKey"),
    "a short coordinate": (JWK_EC | {"x": "AAAA"}, "badPublicKey"),
    "padding": (JWK_EC | {"x": JWK_EC["x"] + "="}, "badPublicKey"),
    "a leading zero octet": (JWK_RSA | {"e": "AAEAAQ"}, "badPublicKey"),
    "no modulus": ({"kty": "RSA", "e": "AQAB"}, "malformed"),
    "an even exponent": (JWK_RSA | {"e": "Ag"}, "badPublicKey"),
    "a modulus of 16384 bits": (JWK_RSA | {"n": b64(b"\xff" * 2048)}, "badPublicKey"),
}


@pytest.mark.clause("RFC 8555 section 6.2")
@pytest.mark.must("rfc8555.6.2.bad-public-key", "rfc8555.8.1.leading-zeros")
@pytest.mark.parametrize(("key", "kind"), BENT_KEYS.values(), ids=BENT_KEYS.keys())
def test_a_bent_jwk_is_refused(key: dict[str, Any], kind: str) -> None:
    with pytest.raises(Problem) as caught:
        jws.public_key(key)
    assert caught.value.type == kind


def verify_with(signature: bytes, key: Any = KEY, **changes: Any) -> None:
    message = sign(key, protected(key, **changes), b"{}") | {"signature": b64(signature)}
    jws.verify(jws.parse(encoded(message), DEPTH), jws.public_key(jwk(key)))


@pytest.mark.clause("RFC 7518 section 3.4")
@pytest.mark.parametrize("length", [0, 63, 65, 96])
def test_an_ecdsa_signature_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Problem, match="does not verify"):
        verify_with(b"\x01" * length)


@pytest.mark.clause("RFC 7518 section 3.4")
def test_an_ecdsa_signature_in_der_is_refused() -> None:
    message = sign(KEY, protected(), b"{}")
    raw = base64.urlsafe_b64decode(message["signature"] + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert decode_dss_signature(der)
    message["signature"] = b64(der)
    with pytest.raises(Problem, match="not DER"):
        jws.verify(jws.parse(encoded(message), DEPTH), jws.public_key(jwk(KEY)))


@pytest.mark.clause("RFC 7518 section 3.1")
def test_an_algorithm_that_is_not_the_keys_is_refused() -> None:
    with pytest.raises(Problem, match="use ES256"):
        verify_with(b"\x01" * 64, alg="RS256")


def test_the_signature_covers_the_payload() -> None:
    message = sign(KEY, protected(), b"{}") | {"payload": b64(b'{"onlyReturnExisting":true}')}
    with pytest.raises(Problem, match="does not verify"):
        jws.verify(jws.parse(encoded(message), DEPTH), jws.public_key(jwk(KEY)))
