"""core/evidence.py: signed statements."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, SignedStatement, Statement, verify

PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())
KEY = PerspectiveKey(PRIVATE_KEY)
STATEMENT = Statement(
    "tokyo",
    "*.example.com",
    "https://ca.example/acme/account/a",
    "attempt",
    1_800_000_000,
    ControlSeen("dns-01", "example.com", Result.PASS, trace=("TXT …",)),
    CaaSeen(Result.PASS, ('0 issue "ca.example"',), "example.com", 300),
)


def test_a_signed_statement_verifies_and_reads_back_the_same() -> None:
    assert verify(KEY.sign(STATEMENT), PRIVATE_KEY.public_key()) == STATEMENT


def test_another_key_does_not_verify() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ValueError, match="does not verify"):
        verify(KEY.sign(STATEMENT), other.public_key())


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_any_changed_octet_of_the_payload_is_noticed(position: int, flip: int) -> None:
    signed = KEY.sign(STATEMENT)
    payload = bytearray(signed.payload)
    payload[position % len(payload)] ^= flip
    with pytest.raises(ValueError):
        verify(dataclasses.replace(signed, payload=bytes(payload)), PRIVATE_KEY.public_key())


def test_a_signature_without_the_context_is_not_one_of_ours() -> None:
    from cryptography.hazmat.primitives import hashes

    payload = KEY.sign(STATEMENT).payload
    bare = PRIVATE_KEY.sign(payload, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(ValueError, match="does not verify"):
        verify(SignedStatement(KEY.key_id, payload, bare), PRIVATE_KEY.public_key())


@given(st.binary(max_size=200))
def test_a_payload_that_is_no_statement_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):
        SignedStatement(KEY.key_id, payload, b"").statement()
