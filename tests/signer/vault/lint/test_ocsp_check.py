"""signer/vault/lint/ocsp_check.py: an answer that says anything but what was asked for is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from core import der
from core.errors import Refused
from core.settings import Rules
from signer.api import OcspRequest
from signer.vault.lint import linter
from signer.vault.lint.crl_check import REASONS
from signer.vault.lint.ocsp_check import check
from signer.vault.lint.worker import Kind
from signer.vault.templates import ocsp
from signer.vault.tokens import algorithms
from tests.signer.vault.templates.test_ocsp import (
    NOT_AFTER,
    REQUEST,
    built_by_cryptography,
    key_hash,
    responder,
)
from tests.support.software_ca import DAY, NOW, SERIAL, software_ca

CA = software_ca()
KEY, CERTIFICATE = responder("ec-p256")
HASH = key_hash(CERTIFICATE)
REVOKED = replace(REQUEST, hash_name="sha256", revoked_at=NOW - 5, reason=1)


def draft(request: OcspRequest, produced_at: int = NOW) -> bytes:
    data = ocsp.build_tbs(CA.issuer, HASH, NOT_AFTER, (request,), produced_at)
    dummy = algorithms.dummy_signature(KEY.public_key())
    return ocsp.assemble(data, algorithms.for_key(KEY.public_key()).identifier, dummy, CERTIFICATE)


def judge(response: bytes, request: OcspRequest = REVOKED, produced_at: int = NOW) -> None:
    check(response, CA.issuer, CERTIFICATE, HASH, (request,), produced_at)


REQUESTS = st.builds(
    OcspRequest,
    issuer_id=st.just("ec-p256"),
    serial=st.integers(1, (1 << 159) - 1).map(der.integer_content),
    hash_name=st.sampled_from(["sha1", "sha256"]),
    this_update=st.integers(NOW - DAY, NOW),
    next_update=st.integers(NOW + 1, NOW + 9 * DAY),
    revoked_at=st.one_of(st.none(), st.integers(NOW - 10**9, NOW - DAY)),
    reason=st.none(),
).flatmap(
    lambda request: st.sampled_from([None, 0, *REASONS]).map(
        lambda reason: replace(request, reason=None if request.revoked_at is None else reason)
    )
)


@pytest.mark.clause("BR 4.3.1.2")
@settings(deadline=None, max_examples=60)
@given(request=REQUESTS)
def test_what_it_passes_pkilint_passes(request: OcspRequest) -> None:
    response = draft(request)
    judge(response, request)
    assert [found for rules in Rules for found in linter.lint(rules, Kind.OCSP, response, plain=True)] == []


def test_it_passes_what_another_builder_writes() -> None:
    built = built_by_cryptography(CA, REVOKED, "ec-p256")
    judge(built.public_bytes(Encoding.DER), produced_at=int(built.produced_at_utc.timestamp()))


@pytest.mark.parametrize(
    "other",
    [
        replace(REVOKED, serial=SERIAL[::-1]),
        replace(REVOKED, hash_name="sha1"),
        replace(REVOKED, revoked_at=None, reason=None),
        replace(REVOKED, revoked_at=NOW - 6),
        replace(REVOKED, reason=4),
        replace(REVOKED, reason=None),
        replace(REVOKED, this_update=NOW - 1),
        replace(REVOKED, next_update=NOW + 4 * DAY + 1),
    ],
)
def test_an_answer_to_another_question_is_refused(other: OcspRequest) -> None:
    with pytest.raises(Refused, match=r"ocsp-lint\."):
        judge(draft(other))
    with pytest.raises(Refused, match=r"ocsp-lint\."):
        judge(draft(REVOKED), other)


def test_another_issuer_responder_or_moment_is_refused() -> None:
    response = draft(REVOKED)
    other = software_ca("ec-p384")
    with pytest.raises(Refused, match=r"ocsp-lint\.issuer"):
        check(response, other.issuer, CERTIFICATE, HASH, (REVOKED,), NOW)
    with pytest.raises(Refused, match=r"ocsp-lint\.responder"):
        check(response, CA.issuer, responder("rsa-2048")[1], HASH, (REVOKED,), NOW)
    with pytest.raises(Refused, match=r"ocsp-lint\.responder"):
        check(response, CA.issuer, CERTIFICATE, HASH[::-1], (REVOKED,), NOW)
    with pytest.raises(Refused, match=r"ocsp-lint\.produced-at"):
        judge(response, produced_at=NOW + 1)


@pytest.mark.clause("BR 7.3")
def test_a_reason_that_may_not_be_said_is_refused_whatever_the_template_wrote() -> None:
    wrong = draft(REVOKED).replace(der.explicit(0, der.enumerated(1)), der.explicit(0, der.enumerated(6)))
    with pytest.raises(Refused, match=r"ocsp-lint\."):
        judge(wrong, replace(REVOKED, reason=6))


def test_an_error_response_and_what_is_none_are_refused() -> None:
    for octets in (b"", b"\x30\x03\x0a\x01\x01", draft(REVOKED)[:-1], draft(REVOKED) + b"\x00"):
        with pytest.raises(Refused, match=r"ocsp-lint\."):
            judge(octets)


def test_an_octet_changed_anywhere_in_what_is_signed_is_refused() -> None:
    response = draft(REVOKED)
    data = ocsp.build_tbs(CA.issuer, HASH, NOT_AFTER, (REVOKED,), NOW)
    start = response.index(data)
    for position in range(start, start + len(data)):
        changed = response[:position] + bytes([response[position] ^ 1]) + response[position + 1 :]
        with pytest.raises(Refused, match=r"ocsp-lint\."):
            judge(changed)


def test_of_several_answers_each_must_be_the_one_that_is_wanted() -> None:
    other = replace(REVOKED, serial=b"\x05", revoked_at=None, reason=None)
    identifier = algorithms.for_key(KEY.public_key()).identifier
    data = ocsp.build_tbs(CA.issuer, HASH, NOT_AFTER, (REVOKED, other), NOW)
    dummy = algorithms.dummy_signature(KEY.public_key())
    response = ocsp.assemble(data, identifier, dummy, CERTIFICATE)
    check(response, CA.issuer, CERTIFICATE, HASH, (REVOKED, other), NOW)
    for wanted, code in (
        ((other, REVOKED), "serial"),
        ((REVOKED,), "responses"),
        ((REVOKED, other, other), "responses"),
        ((REVOKED, replace(other, next_update=other.next_update - 1)), "next-update"),
    ):
        with pytest.raises(Refused, match=rf"ocsp-lint\.{code}"):
            check(response, CA.issuer, CERTIFICATE, HASH, wanted, NOW)
    start = response.index(data)
    for position in range(start, start + len(data)):
        changed = response[:position] + bytes([response[position] ^ 1]) + response[position + 1 :]
        with pytest.raises(Refused, match=r"ocsp-lint\."):
            check(changed, CA.issuer, CERTIFICATE, HASH, (REVOKED, other), NOW)
