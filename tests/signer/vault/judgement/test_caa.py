"""vault/judgement/evidence.py: CAA, its age, its rechecks, its exemptions (BR 3.2.2.8)."""

from __future__ import annotations

import pytest

from core.evidence import CaaSeen, Result
from core.settings import Rules
from tests.signer.vault.judgement.statements import (
    DAY,
    HOUR,
    NAME,
    NOW,
    attempt,
    recheck,
    refused,
    verifier,
    verify,
)


@pytest.mark.clause("BR 4.2.2.1")
def test_caa_is_good_for_eight_hours() -> None:
    verify(attempt(checked_at=NOW - 8 * HOUR))
    refused("evidence.caa-too-old", lambda: verify(attempt(checked_at=NOW - 8 * HOUR - 1)))


def test_a_later_caa_recheck_renews_an_older_validation() -> None:
    old = attempt(checked_at=NOW - 20 * DAY)
    verify([*old, *(recheck(number, NOW - 10) for number in range(5))])
    refused("evidence.caa-too-old", lambda: verify(old))


def test_a_recheck_must_meet_the_quorum_by_itself() -> None:
    statements = [*attempt(), *(recheck(number, NOW) for number in range(3))]
    refused("quorum.not-met", lambda: verify(statements))


def test_a_newer_caa_refusal_outweighs_an_older_permission() -> None:
    forbidden = [recheck(number, NOW - 10, Result.FAIL) for number in range(5)]
    refused("evidence.primary", lambda: verify([*attempt(), *forbidden]))


@pytest.mark.row("caa.method")
@pytest.mark.clause("RFC 8657 section 4")
@pytest.mark.must("rfc8657.4.only-the-method")
def test_caa_judged_for_another_method_is_no_permission() -> None:
    old = attempt(checked_at=NOW - 20 * DAY)
    wrong = [recheck(number, NOW - 10, method="dns-01") for number in range(5)]
    refused("evidence.caa-method", lambda: verify([*old, *wrong]))


@pytest.mark.must("rfc8659.3.checked")
def test_a_validation_without_any_caa_check_is_refused() -> None:
    refused("evidence.caa-missing", lambda: verify(attempt(caa=None)))


def test_caa_without_control_is_refused() -> None:
    refused("evidence.missing", lambda: verify([recheck(number, NOW) for number in range(5)]))


@pytest.mark.parametrize(
    ("name", "rules", "code"),
    [
        ("localhost", Rules.PRIVATE, None),
        (NAME, Rules.PRIVATE, "evidence.caa-exempt"),
        ("localhost", Rules.PUBLIC, "evidence.caa-exempt"),
    ],
)
def test_only_a_local_name_under_private_rules_is_exempt_from_caa(
    name: str, rules: Rules, code: str | None
) -> None:
    statements = attempt(name=name, caa=CaaSeen(Result.PASS, exempt="local name", method="http-01"))

    def act() -> None:
        verify(statements, by=verifier(5, rules), names=(name,))

    if code is None:
        act()
    else:
        refused(code, act)


@pytest.mark.parametrize(
    "caa",
    [
        CaaSeen(Result.PASS, ('0 issue "x"',), "", method="http-01"),
        CaaSeen(Result.PASS, (), "acme-shop.com", method="http-01"),
    ],
)
def test_a_caa_statement_that_contradicts_itself_is_refused(caa: CaaSeen) -> None:
    refused("evidence.caa-odd", lambda: verify(attempt(caa=caa)))
