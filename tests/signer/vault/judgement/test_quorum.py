"""vault/judgement/evidence.py: how many perspectives, from which regions, must agree (BR 3.2.2.9)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Refused
from core.evidence import Result, Statement
from core.settings import Rules
from signer.vault.judgement.evidence import METHODS, PinnedPerspective, Verifier
from tests.signer.vault.judgement.statements import (
    CODES,
    KEYS,
    NAME,
    NOW,
    OTHER,
    SECRETS,
    WILDCARD,
    attempt,
    refused,
    signed,
    statement,
    verifier,
    verify,
)
from tests.support.software_ca import leaf_request


def failed(number: int, **changes: Any) -> Statement:
    found = statement(number, **changes)
    assert found.control is not None
    return replace(found, control=replace(found.control, result=Result.FAIL))


def caa_failed(number: int) -> Statement:
    found = statement(number)
    assert found.caa is not None
    return replace(found, caa=replace(found.caa, result=Result.INDETERMINATE))


def test_five_perspectives_that_agree_are_enough() -> None:
    verify(attempt())


@pytest.mark.must("rfc8659.3.every-name")
def test_evidence_for_two_names_and_a_wildcard_is_enough_for_each() -> None:
    names = (NAME, WILDCARD, OTHER)
    statements = [
        *attempt(),
        *attempt(name=WILDCARD, method="dns-01", attempt="attempt-2"),
        *attempt(name=OTHER, attempt="attempt-3"),
    ]
    verify(statements, names=names)
    for missing in range(3):
        rest = statements[: missing * 5] + statements[missing * 5 + 5 :]
        refused("evidence.missing", lambda rest=rest: verify(rest, names=names))  # type: ignore[misc]


def test_one_pinned_perspective_is_the_list_of_length_one_under_private_rules() -> None:
    verify([statement()], by=verifier(1, Rules.PRIVATE))


@pytest.mark.clause("BR 3.2.2.9")
def test_one_pinned_perspective_is_not_enough_under_the_public_rules() -> None:
    refused("quorum.too-few", lambda: verify([statement()], by=verifier(1)))


def test_no_evidence_is_refused() -> None:
    refused("evidence.missing", lambda: verify([]))


def test_a_flood_of_evidence_is_refused_before_it_is_verified() -> None:
    flood = signed([statement()]) * 2001
    refused("evidence.missing", lambda: verifier().verify(leaf_request(evidence=flood), NOW))


@pytest.mark.row("mpic.sets")
@pytest.mark.row("mpic.quorum")
@pytest.mark.clause("BR 3.2.2.9")
@pytest.mark.parametrize(
    ("pinned", "failing", "at", "code"),
    [
        (5, [], NOW, None),
        (5, [1], NOW, None),
        (5, [1, 2], NOW, "quorum.not-met"),
        (5, [0], NOW, "evidence.primary"),
        (4, [], NOW, "quorum.too-few"),
        (5, [], 1797292800, "quorum.too-few"),  # 2026-12-15T00:00:00Z: five remotes
        (5, [], 1797292799, None),
        (6, [5], 1797292800, None),
        (7, [5, 6], NOW, None),
        (7, [4, 5, 6], NOW, "quorum.not-met"),
    ],
)
@pytest.mark.parametrize("how", ["control", "caa", "silence"])
def test_the_quorum_of_the_day_binds_control_and_caa(
    pinned: int, failing: list[int], at: int, code: str | None, how: str
) -> None:
    def view(number: int) -> Statement | None:
        if number not in failing:
            return statement(number)
        return {"control": failed(number), "caa": caa_failed(number), "silence": None}[how]

    views = [view(number) for number in range(pinned)]
    statements = [replace(each, checked_at=at) for each in views if each is not None]
    if code is None:
        verify(statements, by=verifier(pinned), now=at)
    else:
        refused(code, lambda: verify(statements, by=verifier(pinned), now=at))


@pytest.mark.clause("BR 3.2.2.9")
def test_remotes_that_agree_from_one_region_alone_are_refused() -> None:
    pinned = {
        key.key_id: PinnedPerspective(code, "ARIN", 0.0, 0.0, secret.public_key())
        for key, code, secret in list(zip(KEYS, CODES, SECRETS, strict=True))[:5]
    }
    refused("quorum.regions", lambda: verify(attempt(), by=Verifier(pinned, Rules.PUBLIC, ())))


def test_under_private_rules_every_pinned_perspective_must_agree() -> None:
    by = verifier(3, Rules.PRIVATE)
    verify(attempt(3), by=by)
    refused("quorum.not-met", lambda: verify([*attempt(2), failed(2)], by=by))
    refused("quorum.not-met", lambda: verify(attempt(2), by=by))


@pytest.mark.row("attacks.retry-shopping")
@pytest.mark.row("mpic.no-sharing")
@pytest.mark.clause("BR 3.2.2.9")
def test_lucky_answers_of_several_attempts_are_not_added_up() -> None:
    first = [statement(0), statement(1), statement(2), failed(3), failed(4)]
    second = [
        replace(each, attempt="attempt-2") for each in (statement(0), statement(3), statement(4), failed(1))
    ]
    refused("evidence.attempts", lambda: verify([*first, *second]))
    mixed = [replace(each, control=None) for each in second]
    refused("quorum.not-met", lambda: verify([*first, *mixed]))


def test_one_perspective_cannot_speak_twice_in_an_attempt() -> None:
    refused("evidence.duplicate", lambda: verify([*attempt(), statement(1, checked_at=NOW - 61)]))


@pytest.mark.clause("BR 3.2.2.9")
def test_perspectives_that_looked_at_different_hours_corroborate_nothing() -> None:
    last = attempt()[-1]
    for earlier, holds in ((150, True), (151, False)):
        statements = [*attempt()[:-1], replace(last, checked_at=last.checked_at - earlier)]
        if holds:
            verify(statements)
        else:
            refused("evidence.span", partial(verify, statements))


@pytest.mark.row("methods.wildcard")
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.clause("BR 3.2.2.4.19, 3.2.2.4.20")
def test_a_wildcard_needs_a_dns_method(method: str) -> None:
    def act() -> None:
        verify(attempt(name=WILDCARD, method=method), names=(WILDCARD,))

    if method.startswith("dns-"):
        act()
    else:
        refused("evidence.wildcard", act)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(0, 4)))
def test_any_subset_passes_exactly_when_the_primary_and_three_remotes_are_in_it(which: set[int]) -> None:
    statements = [statement(number) for number in sorted(which)]
    if 0 in which and len(which) >= 4:
        verify(statements)
    else:
        with pytest.raises(Refused):
            verify(statements)
