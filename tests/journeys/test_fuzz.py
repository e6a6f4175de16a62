"""Bytes that nobody should send, to the running server: each gets a clear refusal, and service goes on."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.books import Books
from tests.support.ca import RunningCa

pytestmark = pytest.mark.long

EXAMPLES = 1500
RELAXED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=False,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
header_names = st.sampled_from(["alg", "nonce", "url", "jwk", "kid", "crit", "b64", "typ", "x5c"])
headers = st.dictionaries(header_names | st.text(max_size=8), json_values, max_size=7)
words = st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: _b64(raw))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a flattened JWS, or nothing like it."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=400))
    protected = draw(headers.map(lambda value: _b64(json.dumps(value).encode())) | words)
    members: dict[str, Any] = {"protected": protected, "payload": draw(words), "signature": draw(words)}
    members |= draw(st.dictionaries(st.text(max_size=10), json_values, max_size=2))
    for name in draw(st.sets(st.sampled_from(sorted(members)), max_size=1)):
        del members[name]
    body = json.dumps(members).encode()
    cut = draw(st.none() | st.integers(0, len(body)))
    return body if cut is None else body[:cut]


@pytest.fixture(scope="module")
def state_before(ca: RunningCa) -> Iterator[None]:
    """Nothing was made by all the fuzzing."""
    before = _rows(ca)
    yield
    assert _rows(ca) == before
    assert ca.answers()


@pytest.mark.clause("RFC 8555 section 6.7")
@pytest.mark.parametrize("path", ["new-account", "new-order", "revoke-cert"])
def test_a_hostile_jws_gets_a_problem_document(ca: RunningCa, state_before: None, path: str) -> None:
    @RELAXED
    @given(requests())
    def attack(body: bytes) -> None:
        status, kind, reply = _post(ca, f"{ca.base_url}/acme/{path}", body, "application/jose+json")
        assert 400 <= status < 500, (status, reply)
        assert kind == "application/problem+json"
        assert json.loads(reply)["type"].startswith("urn:ietf:params:acme:error:")
        assert b"Traceback" not in reply

    attack()


@pytest.mark.clause("RFC 6960 section 2.3")
def test_a_hostile_ocsp_request_gets_a_response_that_says_so(ca: RunningCa, state_before: None) -> None:
    whole = _ocsp_request(ca)

    @RELAXED
    @given(st.binary(max_size=300) | _mutations(whole))
    def attack(body: bytes) -> None:
        status, kind, reply = _post(ca, f"{ca.public_url}/ocsp", body, "application/ocsp-request")
        assert status < 500, (status, reply)
        if status == 200:
            assert kind == "application/ocsp-response"
            ocsp.load_der_ocsp_response(reply)

    attack()


@pytest.mark.clause("RFC 6960 appendix A.1")
def test_a_hostile_ocsp_get_is_no_server_error(ca: RunningCa, state_before: None) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=%._-~"

    @RELAXED
    @given(st.text(alphabet, max_size=200))
    def attack(tail: str) -> None:
        status, _, reply = _post(ca, f"{ca.public_url}/ocsp/{tail}", None, "")
        assert status < 500, (status, reply)

    attack()


def _mutations(whole: bytes) -> st.SearchStrategy[bytes]:
    changes = st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=4)

    def changed(edits: list[tuple[int, int]]) -> bytes:
        octets = bytearray(whole)
        for position, value in edits:
            octets[position] = value
        return bytes(octets)

    return changes.map(changed)


def _ocsp_request(ca: RunningCa) -> bytes:
    with Books(ca).database() as db:
        row = db.one("SELECT certificate FROM issuers ORDER BY id")
    assert row is not None
    issuer = x509.load_der_x509_certificate(row["certificate"])
    digest = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(digest, digest, 77, hashes.SHA1())
    return builder.build().public_bytes(serialization.Encoding.DER)


def _post(ca: RunningCa, url: str, body: bytes | None, kind: str) -> tuple[int, str, bytes]:
    context = ssl.create_default_context(cafile=str(ca.trust_anchor)) if url.startswith("https") else None
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind} if kind else {})
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as reply:
            return reply.status, reply.headers.get_content_type(), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get_content_type(), error.read()


def _rows(ca: RunningCa) -> list[int]:
    with Books(ca).database() as db:
        return [len(db.all(f"SELECT 1 FROM {table}")) for table in ("accounts", "orders", "certificates")]


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
