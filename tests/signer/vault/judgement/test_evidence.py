"""vault/judgement/evidence.py: only honest, fresh statements about this name and account count."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Refused
from core.evidence import CaaSeen, ControlSeen, Result, SignedStatement
from core.settings import Rules
from signer.vault.judgement.evidence import Verifier
from tests.signer.vault.judgement.statements import (
    ACCOUNT,
    DAY,
    KEYS,
    NAME,
    NOW,
    OTHER,
    WILDCARD,
    attempt,
    recheck,
    refused,
    signed,
    statement,
    verifier,
    verify,
)
from tests.support.software_ca import leaf_request


def test_evidence_for_a_name_is_none_for_its_wildcard_or_its_parent() -> None:
    refused("evidence.name", lambda: verify(attempt(), names=(WILDCARD,)))
    refused("evidence.name", lambda: verify(attempt(), names=("acme-shop.com",)))
    refused("evidence.name", lambda: verify(attempt(), names=("a." + NAME,)))


def test_control_of_another_name_is_refused() -> None:
    wrong = [
        replace(each, control=ControlSeen("dns-01", "acme-shop.com", Result.PASS))
        for each in attempt(method="dns-01")
    ]
    refused("evidence.adn", lambda: verify(wrong))


@pytest.mark.row("attacks.token-confusion")
def test_evidence_for_another_account_is_refused() -> None:
    refused("evidence.account", lambda: verify(attempt(), account=ACCOUNT + "2"))


@pytest.mark.row("limits.reuse")
@pytest.mark.clause("BR 4.2.1")
@pytest.mark.parametrize(
    ("age", "at", "fresh"),
    [
        (200 * DAY, NOW, True),
        (200 * DAY + 1, NOW, False),
        (100 * DAY, 1805068800, True),  # 2027-03-15
        (100 * DAY + 1, 1805068800, False),
    ],
)
def test_a_validation_is_reused_only_as_long_as_the_rule_of_the_day_allows(
    age: int, at: int, fresh: bool
) -> None:
    statements = [*attempt(6, checked_at=at - age), *(recheck(number, at) for number in range(6))]
    if fresh:
        verify(statements, by=verifier(6), now=at)
    else:
        refused("evidence.too-old", lambda: verify(statements, by=verifier(6), now=at))


def test_a_statement_from_the_future_is_refused_but_a_fast_clock_is_forgiven() -> None:
    verify(attempt(checked_at=NOW + 60))
    refused("evidence.future", lambda: verify(attempt(checked_at=NOW + 61)))


@pytest.mark.row("attacks.rogue-perspective")
def test_a_key_that_is_not_pinned_counts_for_nothing() -> None:
    refused("evidence.unknown-key", lambda: verify(attempt(6), by=verifier(5)))


@pytest.mark.row("attacks.rogue-perspective")
def test_a_perspective_cannot_speak_in_anothers_name() -> None:
    forged = KEYS[1].sign(statement(2))
    request = leaf_request(names=(NAME,), evidence=(*signed([statement(0)]), forged))
    refused("evidence.perspective", lambda: verifier().verify(request, NOW))


def test_a_verifier_without_perspectives_is_not_made() -> None:
    with pytest.raises(ValueError, match="pinned"):
        Verifier({}, Rules.PRIVATE, ())


SIGNED = signed(attempt())


@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, len(SIGNED) - 1),
    field=st.sampled_from([field.name for field in fields(SignedStatement)]),
    position=st.integers(0, 10_000),
    value=st.integers(1, 255),
)
def test_a_change_of_any_octet_of_any_statement_is_refused(
    which: int, field: str, position: int, value: int
) -> None:
    octets = bytearray(getattr(SIGNED[which], field))
    octets[position % len(octets)] ^= value
    changed = replace(SIGNED[which], **{field: bytes(octets)})
    request = leaf_request(names=(NAME,), evidence=(*SIGNED[:which], changed, *SIGNED[which + 1 :]))
    with pytest.raises(Refused, match=r"evidence\."):
        verifier().verify(request, NOW)


STRANGE: dict[str, list[Any]] = {
    "perspective": ["", "p9", "P0"],
    "name": ["", OTHER, WILDCARD, NAME.upper()],
    "account_url": ["", ACCOUNT + "/"],
    "attempt": ["", "attempt-9"],
    "checked_at": [NOW + 10**6, 0, NOW - 201 * DAY, -1],
    "control": [None, ControlSeen("http-01", NAME, Result.FAIL), ControlSeen("", "", Result.PASS)],
    "caa": [None, CaaSeen(Result.FAIL), CaaSeen(Result.PASS, method="dns-01")],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in STRANGE.items() for value in values]
)
def test_a_primary_that_honestly_says_something_else_is_refused(field: str, value: object) -> None:
    odd = KEYS[0].sign(replace(statement(0), **{field: value}))  # type: ignore[arg-type]
    request = leaf_request(names=(NAME,), evidence=(odd, *SIGNED[1:]))
    with pytest.raises(Refused):
        verifier().verify(request, NOW)
