"""lint/fast/dates.py: pkilint's dated rules are known, and nothing that is kept outlives one of them."""

from __future__ import annotations

import ast
import sys
import time
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pkilint
import pytest
from pkilint.cabf.serverauth.serverauth_constants import CertificateType

from core import der
from signer.vault.lint.fast.dates import AFTER_ALL, RULE_DATES, era
from tests.signer.vault.lint.fast.test_index import validators
from tests.signer.vault.lint.fast.test_profile import codes, leaf_der, linter_with
from tests.support.software_ca import DAY, NOW

SOURCE = Path(pkilint.__file__).parent
USED = [*SOURCE.glob("*.py"), *(SOURCE / "pkix").rglob("*.py"), *(SOURCE / "cabf/serverauth").rglob("*.py")]
CLOCKS = ("now", "utcnow", "today", "time", "time_ns", "monotonic")


def calls() -> list[tuple[str, ast.Call]]:
    return [
        (path.name, node)
        for path in USED
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


def test_the_dates_are_those_in_pkilints_source() -> None:
    found = set()
    for _, call in calls():
        numbers = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        if call.func.attr == "datetime" and len(numbers) == 6:  # type: ignore[attr-defined]
            found.add(datetime(*numbers).strftime("%y%m%d%H%M%SZ").encode())  # noqa: DTZ001
    # Not rules: the epoch of SCTs, and the year 9999 of a time that cannot be read.
    assert found - {b"700101000000Z", b"991231235959Z"} == set(RULE_DATES)


def test_no_validator_names_a_clock() -> None:
    named = {
        (path, node.func.attr)  # type: ignore[attr-defined]
        for path, node in calls()
        if node.func.attr in CLOCKS and path != "cli_util.py"  # type: ignore[attr-defined]
    }
    assert named == set()


def test_no_validator_asks_the_clock_while_it_judges() -> None:
    asked = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument in (time.time, time.time_ns, datetime.now, datetime.utcnow):
            asked.append(frame.f_code.co_name)

    plain, _ = validators(CertificateType.DV_FINAL_CERTIFICATE)
    from signer.vault.lint.linter import certificate_loader

    sys.setprofile(watch)
    try:
        plain.validate(certificate_loader.load_der_document(leaf_der()).root)
        datetime.now  # noqa: B018
    finally:
        sys.setprofile(None)
    assert asked == []


@pytest.mark.parametrize("number", range(len(RULE_DATES)))
def test_an_era_begins_at_the_second_of_its_date(number: int) -> None:
    begins = int(datetime.strptime(RULE_DATES[number].decode(), "%y%m%d%H%M%S%z").timestamp())
    assert [era(der.time(begins + seconds)) for seconds in (-1, 0, 1)] == [number, number + 1, number + 1]


def test_the_last_century_is_before_all_rules_and_generalized_time_after_them() -> None:
    assert era(der.time(0)) == 0
    assert era(der.generalized_time(0)) == AFTER_ALL


@pytest.mark.clause("BR 6.3.2")
def test_a_profile_of_one_era_does_not_answer_for_the_next() -> None:
    fast, _ = linter_with()
    begins = 1805068800  # 2027-03-15, when 200 days become 100
    long = {"not_before": begins - DAY, "not_after": begins + 190 * DAY}
    for _ in range(3):
        assert codes(fast.results(leaf_der(**long))) == []
    assert fast.answered == 1
    later = {"not_before": begins, "not_after": begins + 191 * DAY}
    expected = ["cabf.serverauth.certificate_validity_period_exceeds_100_days"]
    assert codes(fast.results(leaf_der(**later))) == expected
    assert fast.answered == 1
    assert codes(fast.results(leaf_der(not_before=NOW, not_after=NOW + 9 * DAY))) == []
    assert fast.answered == 2


def test_a_profile_of_one_edition_does_not_answer_for_another() -> None:
    fast, _ = linter_with()
    for _ in range(3):
        fast.results(leaf_der())
    fast._edition = ("another linter",)
    fast.results(leaf_der())
    assert fast.answered == 1
